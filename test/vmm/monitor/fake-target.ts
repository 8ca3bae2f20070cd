/** A machine for monitors to look at: everything is there, and nothing happens. */

import { InterruptHub } from '../../../devices/apic/interrupt-hub.ts';
import { HostClock } from '../../../vmm/clock.ts';
import type { MonitorTarget } from '../../../vmm/monitor/target.ts';
import { parseArguments } from '../../../vmm/options/parse.ts';

/** @param parts what is of interest. @param line of options */
export function fakeTarget(parts: Partial<MonitorTarget>, line = ''): MonitorTarget {
  const command = parseArguments(['-kernel', 'k', ...line.split(' ')]);
  if (command.kind !== 'run') throw new Error(command.kind);
  const clock = new HostClock(() => 0);
  const interrupts = new InterruptHub({
    clock,
    timeOfTsc: (low, high) => clock.tsc.timeOf(low, high),
    onPending: () => {},
    onInit: () => {},
    onStartUp: () => {},
  });
  const rest: MonitorTarget = {
    config: command.config,
    interrupts,
    pci: undefined,
    runState: 'running',
    stop() {},
    cont: () => true,
    systemReset() {},
    systemPowerdown() {},
    quit() {},
    registers: () => '',
    paging: () => ({ cr0: 0, cr3: 0, cr4: 0, efer: 0 }),
    physicalByte: () => undefined,
    statistics: () => ['instructions: 5'],
    observe() {},
  };
  return Object.defineProperties(rest, Object.getOwnPropertyDescriptors(parts));
}
