import type { AttachedAgent } from '../attached-agent.ts';
import type { Attachment } from '../ports.ts';
import type { GivenHere } from './entry-here.ts';

/** What became of a stream that wants to attach. */
export type Admission = { readonly agent: AttachedAgent } | { readonly superseded: true };

export type Given = Exclude<Attachment, { readonly kind: 'held' }> | GivenHere;
