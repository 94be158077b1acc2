// The page: devices side by side, the replicas that they are at, and the log behind those.
import { Device } from "./device.js";
import { DeviceView } from "./deviceView.js";
import { announce, h, say } from "./dom.js";
import { Fleet } from "./fleet.js";
import { FleetView } from "./fleetView.js";
import { Links } from "./links.js";
import { OrderView } from "./orderView.js";
import { Plot } from "./plot.js";
import { SPACE, fleetToken, isFleet, userOf } from "./session.js";

/** Angles of colour, one for each device. */
const HUES = [285, 165, 45, 230, 350, 110];
const MOST_DEVICES = HUES.length;
const AT_FIRST = [["alice", "laptop"], ["bob", "laptop"], ["alice", "phone"]];

const find = (id) => document.getElementById(id);
const fleet = new Fleet();
const order = new OrderView();
const plot = new Plot();
const links = new Links();
/** @type {Map<Device, DeviceView>} */
const devices = new Map();
let fleetView;

const hueOf = (title) => [...devices.keys()].find((device) => device.title === title)?.hue;
const keysOf = (device) => [`log ${device.node ?? device.home}`, `device ${device.title}`];

function relink() {
  const running = new Set(fleet.replicas.filter(({ state }) => state === "running").map(({ url }) => url));
  const ups = fleet.replicas.map(({ url }) => ({ key: `log ${url}`, from: find("log"), to: fleetView.dock(url), isOn: running.has(url) }));
  const downs = [...devices].map(([device, view]) => ({
    key: `device ${device.title}`, from: fleetView.dock(device.node ?? device.home), to: view.element, hue: device.hue,
    isOn: device.isOnline && Boolean(device.node),
  }));
  links.link([...ups, ...downs]);
  fleetView.count([...devices.keys()].map(({ node }) => node));
}

function watch(device) {
  device.addEventListener("status", relink);
  device.addEventListener("node", relink);
  device.addEventListener("pushing", ({ detail: { node } }) => {
    void links.run([`device ${device.title}`, `log ${node}`], { hue: device.hue, isUp: true });
  });
  device.addEventListener("stored", ({ detail: { changes, cursor } }) => order.add(changes, { cursor, isExact: false, hueOf }));
  device.addEventListener("arrived", ({ detail: { arrivals, cursor, isNews, isExact } }) => {
    if (isNews) order.add(arrivals.map(({ change }) => change), { cursor, isExact, hueOf });
    for (const { ms } of arrivals) if (ms !== undefined) plot.add(ms, device.hue);
    const by = hueOf(arrivals.at(-1).change.actor?.name) ?? device.hue;
    if (isNews) void links.run(keysOf(device), { hue: by, isUp: false });
  });
}

/** @param {string} user @param {string} name @param {(why: { fresh: boolean }) => Promise<string>} token @param {() => void} [askToken] */
async function open(user, name, token, askToken) {
  const used = [...devices.keys()];
  const hue = HUES.find((angle) => !used.some((device) => device.hue === angle));
  const twins = used.filter((device) => device.user === user && device.name.startsWith(name)).length;
  const device = new Device({ user, name: twins ? `${name} ${twins + 1}` : name, hue, urls: fleet.urlsFrom(used.length), token });
  const close = async () => {
    devices.delete(device);
    view.element.remove();
    relink();
    find("open").focus();
    limit();
    await device.stop();
  };
  const view = new DeviceView(device, { nameOf: fleet.nameOf, close, askToken });
  devices.set(device, view);
  watch(device);
  find("devices").append(view.element);
  relink();
  limit();
  await device.start();
  return device;
}

function limit() {
  find("open").disabled = devices.size >= MOST_DEVICES;
  find("nobody").hidden = devices.size > 0;
  for (const button of document.querySelectorAll("#shows button")) button.disabled = devices.size < 2;
}

/** Asks who the next device is of: a name in a fleet, a token at a node. */
function ask() {
  const dialog = find("ask");
  dialog.returnValue = "";
  find("user").value = isFleet ? "carol" : "";
  dialog.showModal();
  find("user").select();
}

async function answered() {
  if (find("ask").returnValue !== "open") return;
  const name = find("name").value.trim() || "device";
  const given = find("user").value.trim();
  if (isFleet) return void open(given, name, () => fleetToken(given));
  let token = given;
  const user = userOf(token);
  if (!user) return announce("that is no token");
  let refused;
  const give = async ({ fresh }) => {
    if (fresh) refused = token;
    if (token === refused) throw new Error("the token was refused or ran out: give a new one");
    return token;
  };
  await open(user, name, give, () => {
    const next = prompt(`A new token of ${user}`)?.trim();
    if (next) token = next;
  });
}

/** Waits until a device says so, but not without end. */
function until(device, holds) {
  return new Promise((resolve) => {
    const look = () => {
      if (!holds()) return;
      device.removeEventListener("status", look);
      resolve();
    };
    device.addEventListener("status", look);
    setTimeout(resolve, 5_000);
    look();
  });
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Two devices of different members. */
function pair() {
  const members = [...devices.keys()].filter((device) => device.spaces?.includes(SPACE) || !isFleet && device.spaces?.length);
  const [one] = members;
  return [one, members.find(({ user }) => user !== one?.user) ?? members[1]];
}

const SHOWS = {
  async conflict() {
    const [one, other] = pair();
    if (!other) return announce("two members are needed");
    say(find("telling"), `${other.title} goes offline; both rename the same record; the later write wins on all devices.`);
    const id = await one.add("Milk or oat milk?", one.spaces[0]);
    for (let n = 0; n < 50 && !(await other.rows()).some((row) => row.id === id); n++) await pause(50);
    other.setOnline(false);
    await other.edit(id, { title: "Oat milk" });
    await pause(1_200);
    await one.edit(id, { title: "Milk" });
    await pause(1_600);
    other.setOnline(true);
  },
  async burst() {
    const [one] = pair();
    if (!one) return announce("a member is needed");
    say(find("telling"), `${one.title} changes one record a hundred times; group commit, group read.`);
    const id = await one.add("Count", one.spaces[0]);
    for (let n = 1; n <= 100; n++) {
      await one.edit(id, { title: `Count to ${n}` });
      await pause(15);
    }
  },
  async failover() {
    const [one] = devices.keys();
    const number = fleet.replicas.findIndex(({ url }) => url === one.node) + 1;
    if (!number || fleet.replicas.length < 2) return announce("two replicas are needed");
    say(find("telling"), `Replica ${number} stops as in a crash; its devices go on at the next one. Then it comes back.`);
    await fleet.act(number, "stop");
    await until(one, () => one.status.state === "live");
    await one.add(`Written after replica ${number} stopped`, one.spaces?.[0]);
    await pause(2_000);
    await fleet.act(number, "start");
  },
};

function dress() {
  for (const [name, show] of Object.entries(SHOWS)) {
    const button = find(`show-${name}`);
    button?.addEventListener("click", async () => {
      button.ariaBusy = "true";
      await show().catch((error) => announce(error.message));
      button.ariaBusy = "false";
    });
  }
  find("open").addEventListener("click", ask);
  find("ask").addEventListener("close", answered);
  find("cancel").addEventListener("click", () => find("ask").close(""));
  const scheme = find("scheme");
  scheme.value = localStorage.scheme ?? "auto";
  scheme.addEventListener("change", () => {
    localStorage.scheme = scheme.value;
    document.documentElement.dataset.scheme = scheme.value;
  });
  document.documentElement.dataset.scheme = scheme.value;
}

dress();
await fleet.start();
fleetView = new FleetView(fleet);
fleet.addEventListener("seen", () => {
  order.show(fleet);
  relink();
});
if (isFleet) {
  order.show(fleet);
  await Promise.all(AT_FIRST.map(([user, name]) => open(user, name, () => fleetToken(user))));
} else {
  limit();
}
