// A todo list that works offline, and syncs between tabs and devices.
//
//   todo.js?user=alice&node=http://127.0.0.1:3050
import { Dexie, liveQuery } from "dexie";
import { createClient } from "mana-sync";
import { dexieStorage, syncTables } from "mana-sync/dexie";

const query = new URLSearchParams(location.search);
const user = query.get("user") ?? "alice";
const url = query.getAll("node").length ? query.getAll("node") : "http://127.0.0.1:3050";

/** What a real app asks its session for; here a person pastes it, once a tab. */
function token({ fresh }) {
  if (fresh) delete sessionStorage.token;
  const token = sessionStorage.token ?? prompt(`A token of ${user}, as "mana-sync token --user ${user}" prints it`);
  if (!token) throw new Error("signed out");
  return (sessionStorage.token = token.trim());
}

// Each user has a database: what one has read is not the next one's.
const db = new Dexie(`todo-${user}`);
db.version(1).stores({ ...syncTables, tasks: "id" });
const client = createClient({ url, app: "todo", tables: ["tasks"], token, storage: dexieStorage(db) });

const form = document.querySelector("form");
const list = document.querySelector("ul");
const status = document.querySelector("[role=status]");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const title = form.elements.title.value;
  form.reset();
  await client.insert("tasks", { title, done: false, created: Date.now() });
});

function item(task) {
  const item = document.createElement("li");
  const done = Object.assign(document.createElement("input"), { type: "checkbox", checked: task.done, ariaLabel: task.title });
  const title = Object.assign(document.createElement("span"), { textContent: task.title });
  const remove = Object.assign(document.createElement("button"), { textContent: "Remove" });
  done.addEventListener("change", () => client.update("tasks", task.id, { done: done.checked }));
  remove.addEventListener("click", () => client.delete("tasks", task.id));
  item.append(done, title, remove);
  return item;
}

// Dexie sees what the client writes, in this tab and in others.
liveQuery(() => db.tasks.toArray()).subscribe((tasks) => {
  tasks.sort((a, b) => a.created - b.created);
  list.replaceChildren(...tasks.map(item));
});

client.on("status", ({ state, leader, pending, error }) => {
  status.textContent = [state, leader && "this tab syncs", pending && `${pending} to push`, error?.message].filter(Boolean).join(" · ");
});
await client.start();
