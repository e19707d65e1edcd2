/** An application of a booted host: `application.ts NAME PORT`. Says when it listens; SIGTERM ends it at once, as it ends most. */
import { execFileSync } from 'node:child_process';

import { HttpApplication } from '../world/http-application.ts';

const [, , name = '', port = ''] = process.argv;
await HttpApplication.start({ name, port: Number(port) });
execFileSync('systemd-notify', ['--ready']);
