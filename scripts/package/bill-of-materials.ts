import type { Bundled } from './bundled.ts';

/** A CycloneDX 1.6 document (cyclonedx.org/docs/1.6/json). No serial number: two builds give the same bytes. */
export function billOfMaterials(
  program: {
    readonly name: string;
    readonly version: string;
    readonly epoch: number;
    readonly licence: string;
  },
  bundled: readonly Bundled[],
): string {
  const subject = {
    type: 'application',
    'bom-ref': program.name,
    name: program.name,
    version: program.version,
    licenses: [licence(program)],
  };
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { timestamp: new Date(program.epoch * 1_000).toISOString(), component: subject },
    components: bundled.map(component),
    dependencies: [
      { ref: program.name, dependsOn: bundled.map(({ purl }) => purl) },
      ...bundled.map(({ purl }) => ({ ref: purl })),
    ],
  };
  return `${JSON.stringify(document, null, 1)}\n`;
}

function component(bundled: Bundled): object {
  const { name, version, purl, cpe, sha512, contains } = bundled;
  return {
    type: purl.startsWith('pkg:npm/') ? 'library' : 'application',
    'bom-ref': purl,
    name,
    version,
    licenses: [licence(bundled)],
    purl,
    ...(cpe === undefined ? {} : { cpe }),
    ...(sha512 === undefined ? {} : { hashes: [{ alg: 'SHA-512', content: sha512 }] }),
    ...(contains === undefined
      ? {}
      : {
          components: Object.entries(contains)
            .toSorted(([a], [b]) => (a < b ? -1 : 1))
            .map(([part, its]) => ({ type: 'library', name: part, version: its })),
        }),
  };
}

function licence({ licence: spdx }: { readonly licence: string }): object {
  return / (AND|OR|WITH) /.test(spdx) ? { expression: spdx } : { license: { id: spdx } };
}
