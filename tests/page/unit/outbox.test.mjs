import assert from "node:assert/strict";
import { test } from "node:test";

import { Outbox } from "../../../web/js/outbox.js";

function outbox() {
  const surroundings = { at: 0, count: 0 };
  return new Outbox({ newId: () => `id-${(surroundings.count += 1)}`, now: () => surroundings.at });
}
const states = (box, destination) => box.of(destination).map(({ id, state }) => `${id} ${state}`);

test("a message stays until it is seen in its conversation", () => {
  const box = outbox();
  box.add("#dev", "1");
  box.add("@bob", "2");
  box.add("#dev", "3");
  box.acked("id-1");
  assert.deepEqual(states(box, "#dev"), ["id-1 taken", "id-3 sending"]);
  assert.equal(box.seen("id-1"), true);
  assert.equal(box.seen("id-1"), false);
  assert.equal(box.seen(undefined), false);
  assert.deepEqual(states(box, "#dev"), ["id-3 sending"]);
});

test("a refused message waits for its author", () => {
  const box = outbox();
  box.add("#dev", "1");
  box.refused("id-1", { code: "uncertain", message: "?" });
  assert.equal(box.of("#dev")[0].problem.code, "uncertain");
  assert.equal(box.retry("id-1").state, "sending");
  box.discard("id-1");
  assert.deepEqual(box.of("#dev"), []);
  assert.equal(box.retry("id-1"), undefined);
});

test("what a restarted server has lost is told", () => {
  const box = outbox();
  for (const destination of ["#dev", "#dev", "#ops", "@bob"]) box.acked(box.add(destination, "x").id);
  box.add("#dev", "on its way");
  box.forgotten("#dev");
  assert.deepEqual(states(box, "#dev"), ["id-1 refused", "id-2 refused", "id-5 sending"]);
  box.connectionLost();
  assert.deepEqual(states(box, "#ops"), ["id-3 taken"]);
  assert.deepEqual(states(box, "@bob"), []);
});
