/** Something that happened to one incarnation of one name. Times are monotonic ms of the process that watched. */
export type HistoryEvent = {
  readonly name: string;
  readonly incarnation: string;
  readonly atMs: number;
} & (
  | {
      readonly kind: 'attached';
      readonly askedAtMs: number;
      /** `undefined` if the companion answered that it records nothing. */
      readonly epoch: number | undefined;
      readonly leaving: boolean;
      readonly replica: string;
    }
  /** Its agent gave up waiting for an epoch, and its Envoy runs without one. */
  | { readonly kind: 'started-unfenced' }
  /** It was told that a newer incarnation has the name. */
  | { readonly kind: 'superseded' }
  /** From here on it may be deleted. */
  | { readonly kind: 'requested' }
  /** The answer to that. */
  | { readonly kind: 'answered'; readonly outcome: string; readonly durable: boolean }
  /** Agent and Envoy are gone without a word, for good. */
  | { readonly kind: 'crashed' }
  /** Its host reaches neither a companion nor a control plane. */
  | { readonly kind: 'cut' }
  | { readonly kind: 'rejoined' }
  /** Its object was written; `by` a caller over REST, or by its own Envoy's stream. */
  | { readonly kind: 'put'; readonly by: 'rest' | 'stream' }
  | { readonly kind: 'deleted' }
);

export interface HistoryViolation {
  readonly rule:
    | 'a live epoch was deleted'
    | 'a silent one was deleted too early'
    | 'an epoch was given twice'
    | 'an older epoch was attached after a newer one'
    | 'an older epoch wrote the object'
    | 'a requested departure never ended'
    | 'a lost one never ended';
  readonly name: string;
  readonly incarnation: string;
  readonly atMs: number;
  readonly detail: string;
}

export interface Judged {
  readonly violations: readonly HistoryViolation[];
  /** Deleted while it lived, without an epoch: it had not waited for one. */
  readonly unfencedDeletions: readonly HistoryViolation[];
}

export interface HistoryRules {
  readonly graceMs: number;
  /** How much earlier the store may date the loss of a stream than we do: one heartbeat. */
  readonly slackMs: number;
  /** Incarnations whose object exists, or whose departure is pending, at the end. */
  readonly remaining: ReadonlySet<string>;
}

type Of<Kind extends HistoryEvent['kind']> = Extract<HistoryEvent, { readonly kind: Kind }>;

/** Looks for events that must never happen, without knowledge of how the product prevents them. */
export function judgeHistory(events: readonly HistoryEvent[], rules: HistoryRules): Judged {
  const history = events.toSorted((a, b) => a.atMs - b.atMs);
  const deletions = ofKind(history, 'deleted').flatMap((deletion) => judgeDeletion(history, deletion, rules));
  return {
    violations: [
      ...deletions.filter(({ fenced }) => fenced).map(({ violation }) => violation),
      ...judgeEpochs(history),
      ...judgeWriters(history),
      ...judgeEnds(history, rules),
    ],
    unfencedDeletions: deletions.filter(({ fenced }) => !fenced).map(({ violation }) => violation),
  };
}

interface JudgedDeletion {
  readonly violation: HistoryViolation;
  readonly fenced: boolean;
}

function judgeDeletion(
  history: readonly HistoryEvent[],
  deletion: Of<'deleted'>,
  { graceMs, slackMs }: HistoryRules,
): readonly JudgedDeletion[] {
  const before = history.filter(
    ({ incarnation, atMs }) => incarnation === deletion.incarnation && atMs <= deletion.atMs,
  );
  const isOver = before.some(({ kind }) => kind === 'requested' || kind === 'superseded');
  if (isOver || isReplaced(history, deletion)) return [];
  const fenced = before.some((event) => event.kind === 'attached' && event.epoch !== undefined);
  const silentSinceMs = silentSince(before);
  if (silentSinceMs === undefined) {
    return [
      {
        violation: violate('a live epoch was deleted', deletion, 'it lived and had not asked to leave'),
        fenced,
      },
    ];
  }
  const silentMs = deletion.atMs - silentSinceMs;
  if (silentMs >= graceMs - slackMs) return [];
  const detail = `${Math.round(silentMs)} of ${graceMs} ms after it had fallen silent`;
  return [{ violation: violate('a silent one was deleted too early', deletion, detail), fenced }];
}

/** Since when no companion can have heard from it; an agent that is back counts as silent until it has its epoch. */
function silentSince(before: readonly HistoryEvent[]): number | undefined {
  const crash = before.find(({ kind }) => kind === 'crashed');
  if (crash !== undefined)
    return (
      before.findLast(({ kind, atMs }) => kind === 'cut' && atMs < crash.atMs && !rejoinedAfter(before, atMs))
        ?.atMs ?? crash.atMs
    );
  const cut = before.findLast(({ kind }) => kind === 'cut');
  if (cut === undefined || rejoinedAfter(before, cut.atMs)) return undefined;
  return cut.atMs;
}

function rejoinedAfter(before: readonly HistoryEvent[], cutAtMs: number): boolean {
  const back = before.find(({ kind, atMs }) => kind === 'rejoined' && atMs > cutAtMs);
  if (back === undefined) return false;
  return before.some(
    (event) => event.kind === 'attached' && event.epoch !== undefined && event.askedAtMs >= back.atMs,
  );
}

/** A newer run had the name by then, as the companion itself says. */
function isReplaced(history: readonly HistoryEvent[], deletion: Of<'deleted'>): boolean {
  const attached = ofKind(history, 'attached').filter(
    ({ name, epoch, atMs }) => name === deletion.name && epoch !== undefined && atMs <= deletion.atMs,
  );
  const own = Math.max(
    ...attached.filter(({ incarnation }) => incarnation === deletion.incarnation).map(epochOf),
    0,
  );
  return (
    own > 0 && attached.some((event) => event.incarnation !== deletion.incarnation && epochOf(event) > own)
  );
}

function judgeEpochs(history: readonly HistoryEvent[]): readonly HistoryViolation[] {
  const attached = ofKind(history, 'attached').filter(
    ({ epoch, leaving }) => epoch !== undefined && !leaving,
  );
  return attached.flatMap((event) => {
    const others = attached.filter((other) => other.incarnation !== event.incarnation);
    const twin = others.find((other) => other.epoch === event.epoch && other.atMs <= event.atMs);
    if (twin !== undefined)
      return [violate('an epoch was given twice', event, `${event.epoch}, also to ${twin.incarnation}`)];
    const newer = others.find(
      (other) => other.name === event.name && epochOf(other) > epochOf(event) && other.atMs < event.askedAtMs,
    );
    if (newer === undefined) return [];
    const detail = `${event.epoch}, asked for after ${newer.incarnation} had ${newer.epoch}`;
    return [violate('an older epoch was attached after a newer one', event, detail)];
  });
}

/** An object that an older epoch writes over a newer one's hides it from its peers. */
function judgeWriters(history: readonly HistoryEvent[]): readonly HistoryViolation[] {
  const attached = ofKind(history, 'attached').filter(({ epoch }) => epoch !== undefined);
  return ofKind(history, 'put').flatMap((put) => {
    const before = attached.filter(({ name, atMs }) => name === put.name && atMs < put.atMs);
    const own = Math.max(
      ...before.filter(({ incarnation }) => incarnation === put.incarnation).map(epochOf),
      0,
    );
    const newer = before.find((event) => event.incarnation !== put.incarnation && epochOf(event) > own);
    if (put.by === 'stream' || own === 0 || newer === undefined || isCopy(history, put)) return [];
    return [
      violate('an older epoch wrote the object', put, `${own} after ${newer.incarnation} had ${newer.epoch}`),
    ];
  });
}

/** Making an object ready writes the stored one, whichever Envoy's stream put it there. */
function isCopy(history: readonly HistoryEvent[], put: Of<'put'>): boolean {
  const last = ofKind(history, 'put').findLast(({ name, atMs }) => name === put.name && atMs < put.atMs);
  return last?.incarnation === put.incarnation;
}

function judgeEnds(
  history: readonly HistoryEvent[],
  { remaining }: HistoryRules,
): readonly HistoryViolation[] {
  const left = ofKind(history, 'answered')
    .filter(({ incarnation, outcome }) => remaining.has(incarnation) && outcome !== 'refused')
    .map((event) => violate('a requested departure never ended', event, `it was answered ${event.outcome}`));
  const lost = ofKind(history, 'crashed')
    .filter(({ incarnation }) => remaining.has(incarnation) && isKnown(history, incarnation))
    .map((event) => violate('a lost one never ended', event, 'it is still there'));
  return [...left, ...lost];
}

/** Whether the companion ever took responsibility for it. */
function isKnown(history: readonly HistoryEvent[], incarnation: string): boolean {
  return ofKind(history, 'attached').some(
    (event) => event.incarnation === incarnation && event.epoch !== undefined,
  );
}

function ofKind<Kind extends HistoryEvent['kind']>(
  history: readonly HistoryEvent[],
  kind: Kind,
): readonly Of<Kind>[] {
  return history.filter((event): event is Of<Kind> => event.kind === kind);
}

function epochOf({ epoch }: Of<'attached'>): number {
  return epoch ?? 0;
}

function violate(
  rule: HistoryViolation['rule'],
  { name, incarnation, atMs }: HistoryEvent,
  detail: string,
): HistoryViolation {
  return { rule, name, incarnation, atMs: Math.round(atMs), detail };
}
