/** Files that name a version of ours beside package.json. */
export const VERSIONED_FILES = [
  'README.md',
  'docker/Dockerfile',
  'examples/README.md',
  'examples/ansible/roles/kuma_dp_agent/defaults/main.yml',
  'examples/nomad/web.nomad.hcl',
] as const;

/**
 * A package's file name as documents show it (`kuma-dp-agent_0.2.0-1_amd64.deb`, `kuma-dp-agent-0.2.0-1.x86_64.rpm`), an
 * image's tag, the version that the Ansible role installs.
 */
const FILE_NAMES =
  /(?<=kuma-(?:dp-agent|deregistrar)[_-])\d+\.\d+\.\d+(?=-\d+[_.]|-linux-)|(?<=kuma-dp-agent:)\d+\.\d+\.\d+|(?<=kuma_dp_agent_version: )\d+\.\d+\.\d+/g;

/** The versions in the file names that a document shows. */
export function shownVersions(document: string): readonly string[] {
  return [...document.matchAll(FILE_NAMES)].map(([version]) => version);
}

/** The same document, with the file names of that version. */
export function withVersion(document: string, version: string): string {
  return document.replaceAll(FILE_NAMES, version);
}
