// That the declarations describe the code, and what they say to an app. It is compiled, never run.
import type * as declared from "../src/types.js";
import type * as declaredDexie from "../src/types-dexie.js";
import type * as declaredShared from "../src/types-shared.js";
import * as actual from "../src/index.js";
import * as dexie from "../src/dexie.js";
import * as shared from "../src/shared.js";

export const checked: Pick<typeof declared, "createClient" | "SyncError" | "memoryStorage" | "merge" | "rowOf"> = actual;
export const checkedDexie: typeof declaredDexie = dexie;
export const checkedShared: typeof declaredShared = shared;

type Todo = { tasks: { title: string; done?: boolean } };

export async function use(create: typeof declared.createClient, storage: declared.Storage) {
  const client = create<Todo>({ url: "", app: "todo", tables: ["tasks"], token: () => "", storage });
  const id: string = await client.insert("tasks", { title: "Milk", spaceId: "home" });
  await client.update("tasks", id, { done: true });
  const title: string | undefined = (await client.get("tasks", id))?.title;
  client.on("rejected", ({ change, error }) => console.log(change.op, error.code, title));
  const stream = checkedShared.sharedStream({ url: "", token: () => "" });
  create<Todo>({ app: "todo", tables: ["tasks"], storage, stream });
  // @ts-expect-error: neither a stream nor a way to one
  create<Todo>({ app: "todo", tables: ["tasks"], storage });
  // @ts-expect-error: no such table
  await client.insert("notes", {});
  // @ts-expect-error: a field of another type
  await client.update("tasks", id, { done: "yes" });
  // @ts-expect-error: no such event
  client.on("nothing", () => {});
}
