// Whom the page speaks to: the node that served it, or a fleet of this machine, which also gives
// tokens, makes members, and stops replicas.

export const isFleet = document.documentElement.dataset.speaksTo === "fleet";

/** The app and the table that all devices share. */
export const APP = "todo";
export const TABLE = "tasks";

/** The space that the fleet's people share. */
export const SPACE = "home";

/** What the fleet's desk answers. */
export async function desk(method, path) {
  const answer = await fetch(path, { method, cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${(await answer.text()).trim()}`);
  return answer;
}

/** A token of a fleet's user, good for ten minutes. */
export async function fleetToken(user) {
  return (await desk("GET", `/token?user=${encodeURIComponent(user)}&ttl=600`)).text();
}

/** Has a user join the space, or leave it. */
export const membership = (method, user) =>
  desk(method, `/dev/spaces/${SPACE}/members/${encodeURIComponent(user)}`);

/** Who a token speaks for: its `sub`. */
export function userOf(token) {
  try {
    const claims = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(claims), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)).sub;
  } catch {
    return undefined;
  }
}
