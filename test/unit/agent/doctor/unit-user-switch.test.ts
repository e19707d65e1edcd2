import { expect, test } from 'vitest';

import { judgeUserSwitch } from '../../../../agent/doctor/unit-user-switch.pure.ts';
import { readUnitSettings, UNIT_PROPERTIES } from '../../../../agent/systemd/systemd-unit.pure.ts';

function judge(command: string, ...lines: readonly string[]): readonly string[] {
  const start = `ExecStart={ path=/a ; argv[]=/usr/bin/kuma-dp-agent run -- ${command} ; ignore_errors=no ; }`;
  const unit = readUnitSettings(['Id=kuma-dp.service', 'LoadState=loaded', start, ...lines].join('\n'));
  return judgeUserSwitch(unit).map(({ level, about, says }) => `${level} ${about}: ${says}`);
}

test.each([
  ['runuser -u kuma-dp -- kuma-dp run', 'cap_net_bind_service', 'CAP_SETUID, CAP_SETGID: runuser'],
  ['/usr/bin/setpriv --reuid=kuma-dp kuma-dp run', '', 'CAP_SETUID, CAP_SETGID: setpriv'],
  ['nice /usr/bin/sudo -E -u kuma-dp kuma-dp run', 'cap_setgid cap_chown', 'CAP_SETUID: sudo'],
  ['gosu kuma-dp kuma-dp run', 'cap_setuid cap_kill', 'CAP_SETGID: gosu'],
  ['chpst -u kuma-dp kuma-dp run', 'cap_net_admin', 'CAP_SETUID, CAP_SETGID: chpst'],
])('%s with the capabilities "%s": it cannot switch the user', (command, capabilities, says) => {
  expect(judge(command, `CapabilityBoundingSet=${capabilities}`)).toEqual([
    expect.stringMatching(`^failure CapabilityBoundingSet: lacks ${says} in ExecStart= cannot switch`),
  ]);
});

test.each([
  ['setpriv', 'cap_setuid cap_setgid', ['failure CAP_KILL', 'warning CAP_DAC_OVERRIDE']],
  ['su-exec', 'cap_setuid cap_setgid cap_dac_override', ['failure CAP_KILL']],
  ['gosu', 'cap_setuid cap_setgid cap_kill', ['warning CAP_DAC_OVERRIDE']],
  ['runuser', 'cap_setuid cap_setgid cap_kill cap_dac_override', []],
])('%s with "%s" starts kuma-dp; what a stop lacks is named: %j', (program, capabilities, lacks) => {
  expect(
    judge(`${program} kuma-dp kuma-dp run`, `CapabilityBoundingSet=${capabilities}`).map((line) =>
      line.replace(/ CapabilityBoundingSet: lacks|: .*/g, ''),
    ),
  ).toEqual(lacks);
});

test.each([
  ['sudo -u envoy kuma-dp run', 'User=kuma-dp', 'failure NoNewPrivileges: yes: sudo in'],
  ['su envoy -c "kuma-dp run"', 'User=deploy', 'failure NoNewPrivileges: yes: su in'],
])('%s with %s cannot get other privileges', (command, user, says) => {
  expect(judge(command, user, 'NoNewPrivileges=yes')).toEqual([expect.stringContaining(says)]);
  expect(judge(command, user, 'NoNewPrivileges=no')).toEqual([]);
});

test.each([
  ['runuser -u kuma-dp -- kuma-dp run', 'User='],
  ['sudo -u kuma-dp kuma-dp run', 'NoNewPrivileges=yes'],
  ['setpriv --no-new-privs kuma-dp run', 'User=kuma-dp\nNoNewPrivileges=yes'],
  ['kuma-dp run --dataplane-file=/etc/sudo', 'CapabilityBoundingSet=cap_net_bind_service'],
])('%s with %j has no such fault', (command, line) => {
  expect(judge(command, line)).toEqual([]);
});

test('systemd is asked for all of it', () => {
  expect(UNIT_PROPERTIES).toEqual(
    expect.arrayContaining(['CapabilityBoundingSet', 'NoNewPrivileges', 'User']),
  );
});
