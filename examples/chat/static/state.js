/** The data of the page. */

export const { prefix, login } = document.body.dataset;
export const me = Number(document.body.dataset.me);
export const people = new Map();
export const rooms = new Map();
export const unread = new Map(); // by room
export const typists = new Map(); // by room: person => timer
export const state = { online: new Set(), current: null }; // users who are online, and the id of the room that is shown

/** Store the app's answer to "start". */
export function take(start) {
  people.clear();
  rooms.clear();
  unread.clear();
  for (const person of start.people) people.set(person.id, person);
  for (const room of start.rooms) rooms.set(room.id, room);
  for (const [room, count] of Object.entries(start.unread)) unread.set(Number(room), count);
  state.online = new Set(start.online);
}

export const byName = (a, b) => a.name.localeCompare(b.name);
export const isMine = (room) => room?.members.includes(me);

/** Find the private conversation with another user. */
export const direct = (person) =>
  [...rooms.values()].find((room) => room.kind === "direct" && room.members.includes(person));
