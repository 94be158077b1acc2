// Random numbers that a seed repeats (mulberry32).
export function seeded(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (bound) => Math.floor(next() * bound);
  return { next, below, pick: (list) => list[below(list.length)] };
}

/** `MANA_SYNC_TEST_SEED`, or a new one; it is printed. */
export function seedOfTest() {
  const seed = Number(process.env.MANA_SYNC_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));
  console.log(`MANA_SYNC_TEST_SEED=${seed}`);
  return seed;
}
