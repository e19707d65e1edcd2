import { accessSync, constants } from 'node:fs';

import * as z from 'zod/mini';

import { requireAnswer } from '../../kuma/answers.ts';
import type { RestClient } from '../../kuma/rest-client.io.ts';

const Config = z.looseObject({
  general: z.looseObject({ tlsCertFile: z.string(), tlsKeyFile: z.string() }),
});

/**
 * The files of the certificate that the control plane on this host shows to kuma-dp: agents trust it already.
 *
 * @returns the problem in words if the control plane does not name them, or this process cannot read them
 * @see kuma pkg/config/core/general.go; recorded answers: `config.json`
 */
export async function controlPlaneCertificate(
  client: Pick<RestClient, 'get'>,
  signal: AbortSignal,
): Promise<{ readonly certificateFile: string; readonly keyFile: string } | { readonly problem: string }> {
  const answer = await client.get('config', signal);
  requireAnswer('read the configuration of the control plane', answer);
  const parsed = z.safeParse(Config, answer.body);
  if (!parsed.success) return { problem: "the control plane's configuration names no certificate" };
  const { tlsCertFile, tlsKeyFile } = parsed.data.general;
  if (tlsCertFile === '' || tlsKeyFile === '') return { problem: 'the control plane has no certificate' };
  for (const path of [tlsCertFile, tlsKeyFile]) {
    try {
      accessSync(path, constants.R_OK);
    } catch {
      return { problem: `"${path}", which the control plane names, cannot be read here` };
    }
  }
  return { certificateFile: tlsCertFile, keyFile: tlsKeyFile };
}
