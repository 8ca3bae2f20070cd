/** Functions of the core that regions call: by these numbers, the first of their module's functions (wasm/core.ts). */
import { TYPE_FLAGS, TYPE_PORT_IN, TYPE_PORT_OUT, TYPE_RUN } from '../wasm/core-types.ts';

export const HELPER_STEP = 0;
export const HELPER_FLAGS = 1;
export const HELPER_PORT_IN = 2;
export const HELPER_PORT_OUT = 3;
export const HELPER_FILL = 4;
/** The core's exports that they are. */
export const REGION_HELPERS = [
  { name: 'step', type: TYPE_RUN },
  { name: 'flags', type: TYPE_FLAGS },
  { name: 'portIn', type: TYPE_PORT_IN },
  { name: 'portOut', type: TYPE_PORT_OUT },
  { name: 'fill', type: TYPE_RUN },
] as const;
