import { expect, test } from 'vitest';

import { deregistrarEvents } from '../../../../control-plane/events.ts';
import { FakeLog } from '../../../support/fake-log.ts';
import { recordOf } from '../../../support/fakes/dataplane-record.ts';

test.for([
  { state: 'leaving', cause: 'requested' },
  { state: 'lost', cause: 'fallback' },
  { state: 'unseen', cause: 'fallback' },
  { state: 'swept', cause: 'sweep' },
] as const)(
  'the log says of a record that is $state the cause that status shows: $cause',
  ({ state, cause }) => {
    const log = new FakeLog();
    deregistrarEvents(log).attempted(recordOf({ state }), { kind: 'later', reason: 'busy', afterMs: 1 });
    expect(log.lines).toMatchObject([{ event: 'departure.held', fields: { cause } }]);
  },
);
