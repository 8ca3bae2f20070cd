import { describe, expect, it } from 'vitest';
import { createNetBackend, parseStreamOptions, parseTapOptions } from '../../../devices/net/create.ts';
import { NetBackendError } from '../../../devices/net/errors.ts';
import { NoneBackend } from '../../../devices/net/none.ts';
import { UserBackend } from '../../../devices/net/user.ts';

describe('createNetBackend', () => {
  it('makes what -netdev names', async () => {
    expect(await createNetBackend('none', [])).toBeInstanceOf(NoneBackend);
    const user = await createNetBackend('user', [
      ['net', '10.9.0.0/24'],
      ['hostfwd', 'tcp:127.0.0.1:0-:80'],
    ]);
    expect(user).toBeInstanceOf(UserBackend);
    user.close();
    await expect(createNetBackend('vde', [])).rejects.toThrow(/unknown network back end vde: known are/);
  });

  it('takes the tap options of urunc, and refuses what would be ignored', () => {
    const urunc: [string, string][] = [
      ['script', 'no'],
      ['downscript', 'no'],
      ['ifname', 'tap0_urunc'],
      ['vhost', 'on'],
    ];
    expect(parseTapOptions(urunc)).toEqual({ ifname: 'tap0_urunc' });
    expect(parseTapOptions([['fd', '7']])).toEqual({ fd: 7 });
    expect(() => parseTapOptions([['script', '/etc/qemu-ifup']])).toThrow(/scripts are not run/);
    expect(() => parseTapOptions([['fd', 'x']])).toThrow(NetBackendError);
    expect(() => parseTapOptions([['queues', '4']])).toThrow(/unknown option queues=/);
  });

  it("takes passt's stream options", () => {
    const passt: [string, string][] = [
      ['server', 'off'],
      ['addr.type', 'unix'],
      ['addr.path', '/tmp/passt_1.socket'],
    ];
    expect(parseStreamOptions(passt)).toEqual({ path: '/tmp/passt_1.socket', server: false });
    expect(() => parseStreamOptions([])).toThrow(/addr.path/);
    expect(() => parseStreamOptions([['addr.type', 'inet']])).toThrow(/only unix/);
    expect(() => parseStreamOptions([['server', 'maybe']])).toThrow(/on or off/);
  });
});
