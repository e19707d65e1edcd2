import type { ErrorCode } from '../../kernel/errors.ts';
import type { Finding } from '../../kernel/findings.ts';
import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { KumaDpCommand } from '../identity/kuma-dp-command.pure.ts';
import type { Outlook } from '../stop/stop-plan.pure.ts';
import { judgeMode } from '../../kuma/control-plane-findings.ts';

/** One look at an endpoint. */
export interface EndpointLook {
  readonly url: string;
  readonly seen:
    | {
        readonly facts: ControlPlaneFacts;
        /** In a federated zone, no other ready dataplane has one of its services. */
        readonly isLastOfService: boolean;
      }
    | { readonly problem: string; readonly code: ErrorCode | undefined };
}

const REMEDIES: Readonly<Partial<Record<ErrorCode, string>>> = {
  ENDPOINT_UNREACHABLE:
    'check --endpoint, and that a firewall lets this host through to it; by default it is port 5682 beside --cp-address',
  DEADLINE_EXCEEDED: 'check for a firewall that drops packets, or an overloaded control plane',
  ENDPOINT_UNTRUSTED: 'check --ca-file, and that the certificate names the host in --endpoint',
  ENDPOINT_REJECTED: 'check --user-token-file, or the dataplane token where it is a companion',
  ANSWER_UNREADABLE: 'another program than Kuma answers there',
  CONFIG_INVALID: 'let this user read it, or run the doctor as the user of the unit',
};

/** The look at the first endpoint that answered, in the order of a stop. */
export function firstFacts(looks: readonly EndpointLook[]): ControlPlaneFacts | undefined {
  const [first] = looks.flatMap(({ seen }) => ('facts' in seen ? [seen.facts] : []));
  return first;
}

/** Whether it is the only dataplane of a service in a federated zone. */
export function isLastOfService(looks: readonly EndpointLook[]): boolean {
  return looks.some(({ seen }) => 'facts' in seen && seen.isLastOfService);
}

/** What a stop would do about the object now. */
export function outlookOf(looks: readonly EndpointLook[], deletable: boolean): Outlook {
  if (!deletable) return 'keeps';
  const deletes = ({ url, seen }: EndpointLook): boolean =>
    'facts' in seen && judgeMode(url, seen.facts).level !== 'failure';
  return looks.some(deletes) ? 'deletes' : 'fails';
}

/** Whether a stop could deregister. One endpoint is enough, so it is a failure only if all are unreachable. */
export function judgeEndpoints(looks: readonly EndpointLook[]): readonly Finding[] {
  if (looks.length === 0) {
    return [
      {
        level: 'failure',
        about: 'endpoint',
        says: 'none: companions do not look after zone proxies',
        remedy: "name the control plane's REST API as well: --endpoint https://…:5682",
      },
    ];
  }
  const oneAnswers = looks.some(({ seen }) => 'facts' in seen);
  return looks.map(({ url, seen }): Finding => {
    const about = `endpoint ${url}`;
    if ('facts' in seen) return judgeMode(about, seen.facts);
    const remedy = seen.code === undefined ? undefined : REMEDIES[seen.code];
    return {
      level: oneAnswers ? 'warning' : 'failure',
      about,
      says: seen.problem,
      ...(remedy === undefined ? {} : { remedy }),
    };
  });
}

/** Kong Mesh's control plane accepts an IAM role in place of a token; no companion does. */
export function judgeCredential(
  { authType, token, tokenPath }: Pick<KumaDpCommand, 'authType' | 'token' | 'tokenPath'>,
  hasCompanion: boolean,
): readonly Finding[] {
  if (!hasCompanion || authType === '' || token !== '' || tokenPath !== '') return [];
  return [
    {
      level: 'failure',
      about: 'dataplane token',
      says: `none: kuma-dp shows the control plane an identity of its own (--auth-type=${authType}), and a companion refuses agents without a token`,
      remedy:
        "name the control plane's REST API in place of the companion (--endpoint https://…:5682), or give kuma-dp a --dataplane-token-file",
    },
  ];
}
