/** The lists of rooms and people, the title, the connection, and who is typing. */

import { byName, direct, isMine, me, people, rooms, state, typists, unread } from "./state.js";
import { find, setText, showList } from "./view.js";

const CONNECTION = {
  connecting: "Connecting…",
  connected: "Connected",
  waiting: "The chat does not answer. Trying again…",
  reconnecting: "Connection lost. Reconnecting… What you write is sent afterwards.",
};

export function showLists() {
  const all = [...rooms.values()];
  const named = all.filter(({ kind }) => kind !== "direct").sort(byName);
  showList(find("rooms"), named.filter(isMine).map(roomEntry));
  const others = named.filter((room) => !isMine(room));
  showList(find("others"), others.map((room) => ({ ...roomEntry(room), action: "Enter" })));
  find("other-rooms").hidden = !others.length;
  const everybody = [...people.values()].filter(({ id }) => id !== me);
  everybody.sort((a, b) => state.online.has(b.id) - state.online.has(a.id) || byName(a, b));
  showList(find("people"), everybody.map(personEntry));
  find("alone").hidden = everybody.length > 0 || !people.size;
  const elsewhere = [...unread].filter(([room]) => room !== state.current);
  find("unread-elsewhere").hidden = !elsewhere.length;
  const count = [...unread.values()].reduce((sum, each) => sum + each, 0);
  document.title = count ? `(${count}) Team chat` : "Team chat";
  showHeader();
}

function roomEntry(room) {
  const { id, name, kind } = room;
  const [status, count] = [`, ${kind} room`, unread.get(id)];
  return { href: `#room-${id}`, name, kind, status, count, isCurrent: id === state.current };
}

function personEntry(person) {
  const room = direct(person.id);
  const isOnline = state.online.has(person.id);
  return {
    href: `#person-${person.id}`,
    name: person.name,
    person,
    isOnline,
    status: isOnline ? ", online" : ", offline",
    count: unread.get(room?.id),
    isCurrent: room !== undefined && room.id === state.current,
  };
}

export function showHeader() {
  const room = rooms.get(state.current);
  const other = people.get(room?.members.find((id) => id !== me));
  const isDirect = room?.kind === "direct";
  find("invite").hidden = find("leave").hidden = !room || isDirect;
  find("text").disabled = !room;
  if (!room) setHeader("Team chat", people.size ? "Enter a room, or write to somebody." : "");
  else if (isDirect) setHeader(other?.name ?? "", state.online.has(other?.id) ? "online" : "offline");
  else setHeader(room.name, membersOf(room));
}

function setHeader(title, subtitle) {
  setText(find("title"), title);
  setText(find("subtitle"), subtitle);
  find("text").placeholder = title && state.current !== null ? `Message ${title}` : "Message";
}

function membersOf({ kind, members }) {
  const here = members.filter((id) => state.online.has(id)).length;
  const count = members.length === 1 ? "1 member" : `${members.length} members`;
  return `${kind === "private" ? "Private · " : ""}${count} · ${here} online`;
}

export function showTyping() {
  const names = [...(typists.get(state.current)?.keys() ?? [])].map((id) => people.get(id)?.name ?? "Somebody");
  const text = names.length > 2 ? "Several people are" : names.join(" and ") + (names.length > 1 ? " are" : " is");
  setText(find("typing"), names.length ? `${text} typing…` : "");
}

export function showConnection(how) {
  document.body.dataset.connection = how;
  setText(find("connection"), CONNECTION[how]);
}
