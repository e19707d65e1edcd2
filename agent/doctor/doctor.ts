import { isIP } from 'node:net';

import { systemClock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { inJson, inLines } from '../../kernel/one-line.ts';
import { describeFindings, exitCodeOf, type Finding } from '../../kernel/findings.ts';
import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../kuma/control-plane.ts';
import { judgeClock, judgeDefects } from '../../kuma/control-plane-findings.ts';
import { linuxHost } from '../state/host.io.ts';
import { lookAtObject, type ObjectLook } from '../object/object-look.io.ts';
import {
  firstFacts,
  isLastOfService,
  judgeCredential,
  judgeEndpoints,
  outlookOf,
  type EndpointLook,
} from './endpoint-findings.pure.ts';
import { isCompanion, orderEndpoints } from '../object/endpoint-url.pure.ts';
import {
  judgeBudget,
  judgeIgnored,
  judgeObject,
  judgeObstacles,
  judgeRotation,
} from './host-findings.pure.ts';
import { describeLoneKumaDp } from './lone-kuma-dp.ts';
import type { HostState } from '../state/host-state.pure.ts';
import { chooseOwner, isDeletable, type Owner } from '../identity/owner.pure.ts';
import { settleMs } from '../object/settle.pure.ts';
import { readTls, type EndpointTls } from '../run/connection.ts';
import { usedProxy } from '../identity/used-proxy.pure.ts';
import { judgeChoices, judgeExternalSenders, judgeSiblings } from '../stop/stop-choices.pure.ts';
import { deriveDataplane, type DerivedDataplane, type Underived } from '../identity/derive.io.ts';
import { examineEnvoy } from './doctor-envoy.ts';
import { bounded, CHECK_BUDGET_MS, doubted, mayBeMe } from './doctor-look.ts';
import { findSubject, livingStates, type DoctorRequest, type Subject } from './doctor-subject.ts';
import { examineToken } from './doctor-token.ts';
import { examineRedirect } from './doctor-redirect.ts';
import { examineSettings } from './doctor-settings.ts';
import { findUnit, examineUnit, type FoundUnit } from './doctor-unit.ts';
import { examineWitness } from './doctor-witness.ts';
import { lookAtEndpoints } from './endpoint-looks.ts';

/** Finds what on this host would break a stop, with the remedy. Starts and changes nothing. */
export async function doctor(
  request: DoctorRequest,
): Promise<{ readonly text: string; readonly code: number }> {
  const findings = await examine(request);
  const code = exitCodeOf(findings);
  const text = request.options.json
    ? `${inJson({ code, findings }, 2)}\n`
    : inLines(describeFindings(findings));
  return { text, code };
}

async function examine(request: DoctorRequest): Promise<readonly Finding[]> {
  const { options } = request;
  const { states: here, hidden, readers } = livingStates(options.stateDir, linuxHost());
  const unit = await findUnit(request, here);
  const subject = findSubject(request, unit.agentPid, here.length);
  if ('problem' in subject) {
    const demands = { options, searchPath: request.env['PATH'] ?? '', needsNames: true };
    return [
      unknownDataplane({ problem: subject.problem, hidden, readers }),
      ...examineUnit(unit, demands),
      ...examineSettings(unit),
    ];
  }
  return examineSubject(request, { subject, unit, states: here, hidden });
}

interface Found {
  readonly subject: Subject;
  readonly unit: FoundUnit;
  readonly states: readonly HostState[];
  readonly hidden: boolean;
}

async function examineSubject(
  request: DoctorRequest,
  { subject, unit, states: here, hidden }: Found,
): Promise<readonly Finding[]> {
  const derived = await deriveDataplane(subject.argv, subject.env, undefined);
  const urls = 'problem' in derived ? [] : endpointsOf(subject, derived);
  const needsNames = urls.some(({ hostname }) => isIP(hostname.replaceAll(/[[\]]/g, '')) === 0);
  const searchPath = subject.env['PATH'] ?? request.env['PATH'] ?? '';
  const unitFindings = [
    ...examineUnit(unit, { options: subject.options, searchPath, needsNames }),
    // A command that is asked about is not the unit's.
    ...(request.argv === undefined ? examineSettings(unit) : []),
  ];
  const asFarAsSeen = subject.partly ? doubted : (findings: readonly Finding[]) => findings;
  if ('problem' in derived) {
    const unclear = describeUnderived(derived);
    return [...judgeIgnored(subject.ignored), ...asFarAsSeen([unclear]), ...unitFindings];
  }
  const { key } = derived.identity;
  const states = [...here, ...livingStates(subject.stateDir, linuxHost()).states];
  const state = states.find(({ dataplane }) => sameKey(dataplane, key));
  const patient: Patient = { subject, derived, urls, state, hidden };
  return [
    ...judgeIgnored(subject.ignored),
    describeDataplane(patient),
    ...judgeRotation(state?.rotation),
    ...judgeObstacles(derived.command.obstacles),
    ...unitFindings.flatMap((finding) =>
      finding.about === 'TimeoutStopSec' ? asFarAsSeen([finding]) : [finding],
    ),
    ...(await examineRedirect(patient, unit.agentPid)),
    ...asFarAsSeen(await examineSurroundings(request, patient)),
    await examineEnvoy(state?.agent.pid ?? (request.argv === undefined ? unit.agentPid : undefined)),
  ];
}

/** The agent's user may be allowed to read what this user may not. */
function describeUnderived({ problem, unreadable }: Underived): Finding {
  const about = 'dataplane';
  if (unreadable !== undefined)
    return { level: 'unseen', about, says: problem, remedy: `run the doctor as ${unreadable}` };
  const remedy = 'correct what it names: until then a stop does not deregister';
  return { level: 'failure', about, says: problem, remedy };
}

interface Unknown {
  readonly problem: string;
  /** Whether there may be an agent whose state this user may not read. */
  readonly hidden: boolean;
  readonly readers: string | undefined;
}

function unknownDataplane({ problem, hidden, readers }: Unknown): Finding {
  const about = 'dataplane';
  const level = hidden ? 'unseen' : 'failure';
  if (readers !== undefined) {
    const says = `${problem}; this user may not read the state folder`;
    return { level, about, says, remedy: `run the doctor as ${readers}` };
  }
  const lone = describeLoneKumaDp();
  if (lone !== undefined) {
    const remedy = 'put "kuma-dp-agent run --" in front of "kuma-dp run" where it is started, and restart it';
    return { level, about, says: `${problem}, but ${lone}`, remedy };
  }
  const remedy = 'name it: --unit NAME, or its command after "--"; run as the user of the unit or as root';
  return { level, about, says: problem, remedy };
}

interface Patient {
  readonly subject: Subject;
  readonly derived: DerivedDataplane;
  readonly urls: readonly URL[];
  /** The agent that runs this dataplane on this host, if this user may see it. */
  readonly state: HostState | undefined;
  /** Whether there are states that this user may not read. */
  readonly hidden: boolean;
}

function endpointsOf({ options }: Subject, { identity }: DerivedDataplane): readonly URL[] {
  const { key, defaultEndpoint: fallback } = identity;
  return orderEndpoints(options.endpoints, { proxyType: key.proxyType, fallback }).urls;
}

function sameKey(a: HostState['dataplane'], b: DerivedDataplane['identity']['key']): boolean {
  return a.proxyType === b.proxyType && a.mesh === b.mesh && a.name === b.name;
}

function describeDataplane({ subject, derived }: Patient): Finding {
  const about = `dataplane ${derived.label}`;
  const { from, partly } = subject;
  if (derived.unset.length > 0) {
    const says = `from ${from}; not set: ${derived.unset.join(', ')}`;
    return { level: 'warning', about, says, remedy: "kuma-dp's --dataplane-var" };
  }
  if (!partly) return { level: 'ok', about, says: `from ${from}` };
  const says = `from ${from}, whose environment this user may not read`;
  return { level: 'unseen', about, says, remedy: 'run the doctor as the user of the unit, or as root' };
}

/** The control plane, and its object of this dataplane. */
async function examineSurroundings(
  { options: asked }: DoctorRequest,
  patient: Patient,
): Promise<readonly Finding[]> {
  const { subject, derived, urls, state } = patient;
  const { options } = subject;
  let tls: EndpointTls;
  try {
    tls = readTls(options, derived.command);
  } catch (error) {
    const remedy = 'check --ca-file, --client-cert-file and --client-key-file, and who may read them';
    const unreadable = { level: mayBeMe(error), about: 'certificates', says: describeError(error), remedy };
    return [unreadable, await examineToken(derived, undefined)];
  }
  const looks = await lookAtEndpoints(urls, {
    derived,
    userTokenFile: options.userTokenFile,
    tls: () => tls,
    budgetMs: CHECK_BUDGET_MS,
  });
  const facts = firstFacts(looks);
  const companion = urls.some(isCompanion);
  const owner = state?.owner ?? chooseOwner(options.lifecycle, derived.identity, companion).owner;
  const precautions = { companion, agentOwns: owner === 'agent', paced: options.restartPacing === 'auto' };
  return [
    ...judgeChoices(options),
    ...judgeExternalSenders(usedProxy(derived.identity), options),
    ...judgeSiblings(isLastOfService(looks)),
    ...judgeCredential(derived.command, companion),
    ...judgeBudget({
      budgetMs: options.stopBudgetMs,
      settleMs: plannedSettleMs(patient, looks, owner),
      drainTimeMs: derived.identity.drainTimeMs,
      supervisorMs: asked.supervisorTimeoutMs === 'none' ? undefined : asked.supervisorTimeoutMs,
    }),
    ...judgeEndpoints(looks),
    ...(facts === undefined ? [] : judgeDefects(facts, precautions)),
    ...(facts === undefined ? [] : await examineObject(patient, tls, { facts, owner })),
    await examineToken(derived, facts?.version),
    ...(companion && options.witness === 'on' ? await examineWitness(derived.identity.resource) : []),
  ];
}

/** A stop without a deregistration does not settle. */
function plannedSettleMs(
  { subject: { options }, derived }: Patient,
  looks: readonly EndpointLook[],
  owner: Owner,
): number {
  if (outlookOf(looks, isDeletable(owner, options.deleteExternal)) !== 'deletes') return 0;
  if (options.settle !== 'auto') return options.settle;
  const scope = { proxyType: derived.identity.key.proxyType, lastOfService: isLastOfService(looks) };
  return settleMs(firstFacts(looks) ?? DEFAULT_FACTS, scope);
}

async function examineObject(
  { subject, derived, urls, state, hidden }: Patient,
  tls: EndpointTls,
  { owner }: { readonly facts: ControlPlaneFacts; readonly owner: Owner },
): Promise<readonly Finding[]> {
  const { key, resource } = derived.identity;
  const about = `object ${derived.label}`;
  const url = urls.find((candidate) => !isCompanion(candidate));
  if (url === undefined) {
    return [{ level: 'unseen', about, says: 'only a companion is named, and companions show no objects' }];
  }
  const { userTokenFile } = subject.options;
  let look: ObjectLook;
  try {
    look = await bounded(`look at ${derived.label}`, (signal) =>
      lookAtObject({ url, tls, userTokenFile, key }, signal),
    );
  } catch (error) {
    return [{ level: 'unseen', about, says: describeError(error) }];
  }
  const finding = judgeObject({
    key,
    owner,
    address: state?.address ?? resource?.networking?.address,
    incarnation: state?.incarnation,
    running: state?.phase === 'running',
    overview: look.overview,
  });
  const clock = judgeClock(look.clockMs, systemClock.wallMs());
  // The state of an agent that runs here may be in a folder that this user may not read.
  return [clock, ...(state === undefined && hidden ? doubted([finding]) : [finding])];
}
