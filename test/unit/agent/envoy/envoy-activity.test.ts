import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  ACTIVITY_STATS_FILTER,
  followQuiet,
  listensOn,
  NO_DIRECTIONS,
  outboundPorts,
  readActivity,
  readDirections,
  type Directions,
  type Quiet,
} from '../../../../agent/envoy/envoy-activity.pure.ts';
import { RECORDED_VERSIONS, recordedText } from '../../../support/kuma/recorded.ts';

describe('readActivity()', () => {
  describe.for(RECORDED_VERSIONS)('of %s', (version) => {
    test.for([
      { file: 'envoy-stats-idle.txt', active: 0, begun: 0 },
      { file: 'envoy-stats-three-requests-active.txt', active: 3, begun: 3 },
      { file: 'envoy-stats-after.txt', active: 0, begun: 3 },
    ])('$file: $active active, $begun begun', ({ file, active, begun }) => {
      const { inbound, outbound } = readActivity(recordedText(version, file), INBOUNDS);
      expect(inbound).toEqual({ requests: active, connections: 0, begun });
      expect(outbound).toEqual({ requests: 0, connections: 0, begun: 0, open: [], receivedBytes: 0 });
    });

    test('the filter keeps every line that counts', () => {
      const stats = recordedText(version, 'envoy-stats-three-requests-active.txt');
      const filter = new RegExp(ACTIVITY_STATS_FILTER);
      const kept = stats.split('\n').filter((line) => filter.test(line.split(': ')[0] ?? ''));
      expect(readActivity(kept.join('\n'), INBOUNDS).inbound).toMatchObject({ requests: 3, begun: 3 });
      expect(kept.length).toBeLessThan(stats.split('\n').length);
    });
  });

  test.for([
    {
      name: "the admin's own connections and requests never count",
      stats: [
        'http.admin.downstream_rq_active: 1',
        'http.admin.downstream_cx_active: 2',
        'listener.admin.downstream_cx_active: 2',
      ],
      active: 0,
    },
    {
      name: 'requests and connections to the control plane never count',
      stats: ['cluster.ads_cluster.upstream_rq_active: 2', 'cluster.ads_cluster.upstream_cx_active: 1'],
      active: 0,
    },
    {
      name: 'connections of a listener without HTTP count',
      stats: ['listener.10.0.0.1_5432.downstream_cx_active: 4'],
      active: 4,
    },
    {
      name: 'an idle keep-alive connection of an HTTP listener does not count',
      stats: ['listener.10.0.0.1_80.downstream_cx_active: 4', 'http.web.downstream_cx_active: 4'],
      active: 0,
    },
    {
      name: 'HTTP and other listeners side by side',
      stats: [
        'listener.10.0.0.1_80.downstream_cx_active: 4',
        'http.web.downstream_cx_active: 4',
        'http.web.downstream_rq_active: 2',
        'listener.10.0.0.1_5432.downstream_cx_active: 1',
      ],
      active: 3,
    },
    {
      name: "a worker's share of a listener is not counted twice",
      stats: [
        'listener.10.0.0.1_5432.downstream_cx_active: 3',
        'listener.10.0.0.1_5432.worker_0.downstream_cx_active: 1',
        'listener.10.0.0.1_5432.worker_1.downstream_cx_active: 2',
        'listener.10.0.0.1_5432.main_thread.downstream_cx_active: 0',
      ],
      active: 3,
    },
    {
      name: 'an HTTP connection that its listener has not counted yet is not negative work',
      stats: ['listener.10.0.0.1_80.downstream_cx_active: 0', 'http.web.downstream_cx_active: 1'],
      active: 0,
    },
    {
      name: 'requests by version or status are not the sum again',
      stats: [
        'http.web.downstream_rq_http2_total: 5',
        'http.web.downstream_rq_2xx: 5',
        'http.web.downstream_rq_active: 1',
      ],
      active: 1,
    },
    {
      name: 'what is not a counter is passed over',
      stats: ['', 'OK', 'http.web.downstream_rq_active: No recorded values'],
      active: 0,
    },
  ])('$name', ({ stats, active }) => {
    const { inbound, outbound } = readActivity(stats.join('\n'), NO_DIRECTIONS);
    expect(outbound.requests + outbound.connections, 'without a direction: outbound').toBe(active);
    expect(inbound).toEqual({ requests: 0, connections: 0, begun: 0 });
  });

  test('tells the directions apart, by HTTP prefix and by listener', () => {
    const directions: Directions = {
      filters: new Map([
        ['backend_out', 'outbound'],
        ['localhost_8080', 'inbound'],
        ['_kuma_dynconf', 'own'],
      ]),
      listeners: new Map([
        ['127.0.0.1_30001', { direction: 'outbound', name: 'outbound:127.0.0.1:30001' }],
        ['10.0.0.1_5432', { direction: 'inbound', name: 'inbound:10.0.0.1:5432' }],
        ['/run/dynconf.sock', { direction: 'own', name: '_kuma:dynamicconfig' }],
      ]),
    };
    const stats = [
      'http.backend_out.downstream_rq_active: 7',
      'http.backend_out.downstream_rq_total: 70',
      'http.backend_out.downstream_cx_active: 5',
      'http.backend_out.downstream_cx_total: 50',
      'listener.127.0.0.1_30001.downstream_cx_active: 5',
      'listener.127.0.0.1_30001.downstream_cx_total: 50',
      'listener.127.0.0.1_30002.downstream_cx_active: 9',
      'listener.127.0.0.1_30002.downstream_cx_total: 90',
      'tcp.database.downstream_cx_rx_bytes_total: 4711',
      'http.localhost_8080.downstream_rq_active: 2',
      'http.localhost_8080.downstream_rq_total: 20',
      'listener.10.0.0.1_5432.downstream_cx_active: 1',
      'listener.10.0.0.1_5432.downstream_cx_total: 2',
      'http._kuma_dynconf.downstream_rq_active: 1',
      'http._kuma_dynconf.downstream_rq_total: 100',
      'listener./run/dynconf.sock.downstream_cx_active: 1',
      'listener./run/dynconf.sock.downstream_cx_total: 100',
    ];
    expect(readActivity(stats.join('\n'), directions)).toEqual({
      inbound: { requests: 2, connections: 1, begun: 22 },
      outbound: {
        requests: 7,
        connections: 9,
        begun: 160,
        open: [
          { listener: 'outbound:127.0.0.1:30001', connections: 5 },
          { listener: '127.0.0.1_30002', connections: 9 },
        ],
        receivedBytes: 4_711,
      },
    });
  });
});

/** The inbounds of a recorded Envoy. */
const INBOUNDS: Directions = {
  filters: new Map([
    ['localhost_20001', 'inbound'],
    ['self_inbound_dp_main', 'inbound'],
  ]),
  listeners: new Map([
    ['127.0.0.1_10001', { direction: 'inbound', name: 'inbound:127.0.0.1:10001' }],
    ['self_inbound_dp_main', { direction: 'inbound', name: 'self_inbound_dp_main' }],
  ]),
};

function hcm(prefix: string): unknown {
  return { filters: [{ typed_config: { stat_prefix: prefix } }, { typed_config: {} }, {}] };
}

function listener(fields: Readonly<Record<string, unknown>>): unknown {
  return { name: 'x', active_state: { listener: fields } };
}

function at(address: string, port: number): unknown {
  return { socket_address: { address, port_value: port } };
}

describe('readDirections()', () => {
  test('names listeners by prefix and by address, and the filters in them', () => {
    const dump = {
      configs: [
        listener({
          name: 'inbound:10.0.0.1:80',
          traffic_direction: 'INBOUND',
          address: at('10.0.0.1', 80),
          filter_chains: [hcm('localhost_8080')],
        }),
        listener({
          name: 'outbound:127.0.0.1:30001',
          traffic_direction: 'OUTBOUND',
          address: at('127.0.0.1', 30_001),
          filter_chains: [hcm('backend_out'), hcm('backend_out_2')],
        }),
        listener({
          traffic_direction: 'OUTBOUND',
          stat_prefix: 'named',
          address: at('fd00::1', 30_002),
          default_filter_chain: hcm('fallback'),
        }),
        listener({ traffic_direction: 'OUTBOUND', stat_prefix: '', address: { pipe: { path: '/run/x' } } }),
        { name: 'warming', warming_state: {} },
      ],
    };
    const directions = readDirections(dump);
    expect(Object.fromEntries(directions.filters)).toEqual({
      localhost_8080: 'inbound',
      backend_out: 'outbound',
      backend_out_2: 'outbound',
      fallback: 'outbound',
    });
    expect(Object.fromEntries(directions.listeners)).toEqual({
      '10.0.0.1_80': { direction: 'inbound', name: 'inbound:10.0.0.1:80' },
      '127.0.0.1_30001': { direction: 'outbound', name: 'outbound:127.0.0.1:30001' },
      named: { direction: 'outbound', name: 'named' },
      fd00__1_30002: { direction: 'outbound', name: 'fd00__1_30002' },
      '[fd00__1]_30002': { direction: 'outbound', name: '[fd00__1]_30002' },
    });
    expect(outboundPorts(directions)).toEqual(new Set([30_001, 30_002]));
  });

  test("a prefix that both directions share is inbound: peers' requests are not the application's", () => {
    const inbound = {
      traffic_direction: 'INBOUND',
      address: at('10.0.0.1', 80),
      filter_chains: [hcm('same')],
    };
    const outbound = { ...inbound, traffic_direction: 'OUTBOUND', address: at('127.0.0.1', 1) };
    for (const both of [
      [inbound, outbound],
      [outbound, inbound],
    ]) {
      expect(readDirections({ configs: both.map(listener) }).filters.get('same')).toBe('inbound');
    }
  });

  test.for([
    { name: 'without a direction', fields: {} },
    { name: 'with an unknown one', fields: { traffic_direction: 'UNSPECIFIED' } },
    {
      name: 'of the passthrough',
      fields: { name: 'outbound:passthrough:ipv4', traffic_direction: 'OUTBOUND' },
    },
  ])('a listener $name is outbound, never nothing', ({ fields }) => {
    const dump = { configs: [listener({ address: at('0.0.0.0', 15_001), ...fields })] };
    expect(readDirections(dump).listeners.get('0.0.0.0_15001')?.direction).toBe('outbound');
  });

  test.for(['_kuma:dynamicconfig', '_kuma:metrics:opentelemetry:x', 'system_dynamicconfig'])(
    "%s is kuma-dp's own",
    (name) => {
      const dump = { configs: [listener({ name, stat_prefix: 'own' })] };
      expect(readDirections(dump).listeners.get('own')?.direction).toBe('own');
    },
  );

  test('an empty dump names nothing', () => {
    expect(readDirections({})).toEqual(NO_DIRECTIONS);
    expect(readDirections({ configs: [] })).toEqual(NO_DIRECTIONS);
  });
});

describe('followQuiet()', () => {
  test.for<{
    readonly name: string;
    readonly previous: Quiet | undefined;
    readonly active: number;
    readonly begun: number;
    readonly quiet: Quiet | undefined;
  }>([
    {
      name: 'begins when nothing is active',
      previous: undefined,
      active: 0,
      begun: 5,
      quiet: { begun: 5, sinceMs: 100 },
    },
    {
      name: 'lasts while nothing begins',
      previous: { begun: 5, sinceMs: 0 },
      active: 0,
      begun: 5,
      quiet: { begun: 5, sinceMs: 0 },
    },
    {
      name: 'ends with work in progress',
      previous: { begun: 5, sinceMs: 0 },
      active: 1,
      begun: 6,
      quiet: undefined,
    },
    {
      name: 'begins anew after a request that came and went between two looks',
      previous: { begun: 5, sinceMs: 0 },
      active: 0,
      begun: 6,
      quiet: { begun: 6, sinceMs: 100 },
    },
  ])('$name', ({ previous, active, begun, quiet }) => {
    expect(followQuiet(previous, { requests: active, connections: 0, begun }, 100)).toEqual(quiet);
  });

  test('is never older than the last sign of work, whatever happens', () => {
    const looks = fc.array(
      fc.record({ active: fc.integer({ min: 0, max: 2 }), more: fc.integer({ min: 0, max: 2 }) }),
    );
    fc.assert(
      fc.property(looks, (steps) => {
        let quiet: Quiet | undefined;
        let begun = 0;
        let lastWorkAtMs = 0;
        steps.forEach(({ active, more }, index) => {
          const atMs = (index + 1) * 100;
          begun += more;
          if (active > 0 || more > 0) lastWorkAtMs = atMs;
          quiet = followQuiet(quiet, { requests: 0, connections: active, begun }, atMs);
          expect(quiet === undefined).toBe(active > 0);
          expect(quiet?.sinceMs ?? atMs).toBeGreaterThanOrEqual(lastWorkAtMs);
        });
      }),
    );
  });
});

describe('listensOn()', () => {
  test.for(RECORDED_VERSIONS)('the recorded Envoy of %s listens on its inbound', (version) => {
    const listeners = JSON.parse(recordedText(version, 'envoy-listeners.json')) as unknown;
    expect(listensOn(listeners, [{ address: '127.0.0.1', port: 10_001 }])).toBe(true);
    expect(listensOn(listeners, [{ address: '127.0.0.1', port: 10_002 }])).toBe(false);
    expect(
      listensOn(listeners, [
        { address: '127.0.0.1', port: 10_001 },
        { address: '127.0.0.1', port: 10_002 },
      ]),
    ).toBe(false);
  });

  test.for([
    { name: 'an Envoy that has not answered yet listens on nothing', listeners: {}, listens: false },
    { name: 'nor does one without listeners', listeners: { listener_statuses: [] }, listens: false },
    {
      name: 'nor one that listens on a pipe',
      listeners: { listener_statuses: [{ local_address: {} }] },
      listens: false,
    },
  ])('$name', ({ listeners, listens }) => {
    expect(listensOn(listeners, [{ address: '10.0.0.1', port: 80 }])).toBe(listens);
  });

  test('a dataplane without ports has nothing to wait for', () => {
    expect(listensOn({}, [])).toBe(true);
  });
});
