/** The display of the page. It inserts everything as text, never as HTML. */

const GROUP = 300; // seconds within which messages of one author stay together
const NEAR = 80; // pixels from the end that count as the end

export const find = (id) => document.getElementById(id);
const copy = (id) => find(id).content.firstElementChild.cloneNode(true);

/** Set a text if it has changed, because screen readers read a text out whenever it is set. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setFace(element, { id, name }) {
  const words = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  element.textContent = letters.map((word) => [...word][0].toUpperCase()).join("");
  element.style.setProperty("--hue", hue(id));
}

const hue = (id) => (id * 137.5 + 20) % 360;

// The list.

/**
 * Show entries in a list.
 *
 * @param entries Each has href, name, kind or person, status, count or action, isCurrent, isOnline.
 */
export function showList(list, entries) {
  list.replaceChildren(
    ...entries.map((entry) => {
      const item = copy("entry");
      const [link, mark] = [item.firstElementChild, item.querySelector(".mark")];
      link.href = entry.href;
      if (entry.isCurrent) link.setAttribute("aria-current", "page");
      if (entry.person) setFace(mark, entry.person);
      else mark.dataset.kind = entry.kind;
      item.querySelector("bdi").textContent = entry.name;
      item.querySelector(".status").textContent = entry.status ?? "";
      item.querySelector(".count").textContent = entry.action ?? (entry.count || "");
      item.toggleAttribute("data-online", Boolean(entry.isOnline));
      item.toggleAttribute("data-unread", Boolean(entry.count));
      return item;
    }),
  );
}

export function showCandidates(people, invite) {
  find("candidates").replaceChildren(
    ...people.map((person) => {
      const item = document.createElement("li");
      const face = document.createElement("span");
      const name = document.createElement("bdi");
      const button = document.createElement("button");
      face.className = "face";
      setFace(face, person);
      name.textContent = person.name;
      button.type = "button";
      button.className = "plain";
      button.textContent = "Invite";
      button.ariaLabel = `Invite ${person.name}`;
      button.addEventListener("click", () => invite(person.id));
      item.append(face, name, button);
      return item;
    }),
  );
}

// Messages.

const clock = new Intl.DateTimeFormat([], { hour: "numeric", minute: "2-digit" });
const day = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long" });

function dayOf(seconds) {
  const date = new Date(seconds * 1000);
  const ago = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 864e5);
  return ["Today", "Yesterday"][ago] ?? day.format(date);
}

/**
 * The messages of one room. A message keeps its element, so that nothing jumps or is read out twice.
 */
export class Messages {
  #list = find("messages");
  #scroller = find("scroller");
  #room = null;
  #isAtEnd = true;
  #elements = new Map(); // by author and token: a message keeps its element when it has been sent

  constructor() {
    this.#scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
      this.#isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR;
      if (this.#isAtEnd) find("latest").hidden = true;
    });
    // The keyboard appears, or the text field grows.
    new ResizeObserver(() => this.#isAtEnd && this.toEnd()).observe(this.#scroller);
  }

  /**
   * @param room     The id of the room that is shown.
   * @param messages Stored messages, and then unsent ones, which have a state: "waiting" or "failed".
   * @param people   By id.
   * @param me       The id of the user.
   */
  show(room, messages, people, me) {
    const { scrollHeight, scrollTop } = this.#scroller;
    if (room !== this.#room) this.#clear(room);
    const before = this.#list.lastElementChild?.dataset.key;
    const first = this.#list.firstElementChild?.dataset.key;
    this.#place(messages, people, me);
    const { firstElementChild, lastElementChild: last } = this.#list;
    const isMine = last?.dataset.key !== before && last && "mine" in last.dataset;
    if (this.#isAtEnd || isMine) this.toEnd();
    else if (first !== firstElementChild?.dataset.key) {
      // Older messages were inserted at the top. The visible ones keep their place.
      this.#scroller.scrollTop = scrollTop + this.#scroller.scrollHeight - scrollHeight;
    } else if (last?.dataset.key !== before) find("latest").hidden = false;
  }

  toEnd() {
    this.#isAtEnd = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    find("latest").hidden = true;
  }

  #clear(room) {
    this.#room = room;
    this.#isAtEnd = true;
    this.#elements.clear();
    this.#list.replaceChildren();
  }

  #place(messages, people, me) {
    const gone = new Map(this.#elements);
    let previous = null;
    let at = this.#list.firstElementChild;
    for (const message of messages) {
      const key = `${message.author}:${message.token}`;
      const known = this.#elements.get(key);
      const element = known ?? this.#make(key, message, people, me);
      this.#update(element, message, previous);
      if (element === at) at = at.nextElementSibling;
      else this.#list.insertBefore(element, at);
      gone.delete(key);
      previous = message;
    }
    for (const [key, element] of gone) {
      element.remove();
      this.#elements.delete(key);
    }
  }

  #make(key, { author, text }, people, me) {
    const person = people.get(author) ?? { id: author, name: "Somebody" };
    const element = copy("message");
    element.dataset.key = key;
    element.toggleAttribute("data-mine", author === me);
    element.style.setProperty("--hue", hue(author));
    element.querySelector(".from bdi").textContent = author === me ? "You" : person.name;
    setFace(element.querySelector(".face"), person);
    element.querySelector(".text").textContent = text;
    this.#elements.set(key, element);
    return element;
  }

  #update(element, { token, author, sent_at, state, reason }, previous) {
    const today = dayOf(sent_at);
    const isNewDay = previous === null || dayOf(previous.sent_at) !== today;
    const isNear = previous?.author === author && sent_at - previous.sent_at < GROUP;
    element.toggleAttribute("data-first", isNewDay || !isNear);
    if (isNewDay) element.dataset.day = today;
    else delete element.dataset.day;
    const time = element.querySelector("time");
    time.dateTime = new Date(sent_at * 1000).toISOString();
    time.textContent = clock.format(new Date(sent_at * 1000));
    element.dataset.token = token;
    if (state) element.dataset.state = state;
    else delete element.dataset.state;
    element.querySelector(".state").hidden = !state;
    setText(element.querySelector(".state span"), state === "failed" ? `Not sent: ${reason}` : "Sending…");
  }
}
