import type { StopEvidence } from '../ports.ts';
import type { ApplicationPort } from '../identity/used-proxy.pure.ts';

/** Signs on this host of the application behind Envoy during one stop, and of the reason for the stop. */
export class HostSigns {
  readonly #host: StopEvidence;
  readonly #applicationPorts: readonly ApplicationPort[];
  #ports: 'answer' | 'refuse' | 'unknown' = 'unknown';
  #refusedAtFirst = false;
  #onlyProxyReplaced = false;

  constructor(host: StopEvidence, applicationPorts: readonly ApplicationPort[]) {
    this.#host = host;
    this.#applicationPorts = applicationPorts;
  }

  get ports(): 'answer' | 'refuse' | 'unknown' {
    return this.#ports;
  }

  get refusedAtFirst(): boolean {
    return this.#refusedAtFirst;
  }

  get onlyProxyReplaced(): boolean {
    return this.#onlyProxyReplaced;
  }

  async atFirst(): Promise<void> {
    const [, isRestart] = await Promise.all([this.probe(), this.#host.isRestart()]);
    this.#refusedAtFirst = this.#ports === 'refuse';
    this.#onlyProxyReplaced = isRestart;
  }

  async probe(): Promise<void> {
    this.#ports = await this.#host.probe(this.#applicationPorts);
  }
}
