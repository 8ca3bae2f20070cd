/** Reports as the programs print them (wrk 4.1.0, ab 2.3, redis-benchmark 7.0). */

import { expect, test } from 'vitest';
import { parseAb, parseRedisBenchmark, parseWrk } from '../../bench/loads.ts';

const WRK = `Running 2s test @ http://172.44.0.2/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.11ms    1.00ms  20.11ms   89.13%
    Req/Sec     7.30k     0.91k    8.60k    75.00%
  14529 requests in 2.00s, 3.10MB read
`;

test('wrk', () => {
  const text = `${WRK}Requests/sec:   7238.51\nTransfer/sec:      1.50MB\n`;
  expect(parseWrk(text)).toEqual({ requestsPerSecond: 7238.51, megabytesPerSecond: 1.572864, failed: 0 });
});

test('wrk with failures, and with little to tell', () => {
  const text = `${WRK}  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 50
Requests/sec:      0.00
Transfer/sec:       0.00B
`;
  expect(parseWrk(text)).toEqual({ requestsPerSecond: 0, megabytesPerSecond: 0, failed: 60 });
  expect(() => parseWrk('unable to connect to 172.44.0.2:http Connection refused')).toThrow('Connection refused');
});

test('ab', () => {
  const text = `Concurrency Level:      8
Complete requests:      2000
Failed requests:        3
Non-2xx responses:      2
Requests per second:    2342.92 [#/sec] (mean)
Transfer rate:          500.00 [Kbytes/sec] received
`;
  expect(parseAb(text)).toEqual({ requestsPerSecond: 2342.92, megabytesPerSecond: 0.512, failed: 5 });
  expect(() => parseAb('apr_pollset_poll: The timeout specified has expired (70007)')).toThrow('timeout');
});

test('redis-benchmark', () => {
  const text = `"test","rps","avg_latency_ms","min_latency_ms"
"SET","13157.89","1.101","0.312"
"GET","15384.62","0.951","0.240"
`;
  expect(parseRedisBenchmark(text)).toEqual(new Map(Object.entries({ SET: 13157.89, GET: 15384.62 })));
  expect(() => parseRedisBenchmark('Could not connect to Redis')).toThrow('Could not connect');
});
