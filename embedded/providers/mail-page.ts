import type { Mailbox, PlannedRefusal, ReceivedMail } from "./mailbox.js";
import type { HttpStandIn, WireAnswer } from "./stand-in.js";

/**
 * What a developer sees of the mails: a page at `/mail/`, the same as JSON by `POST /control/mail/mails`, and
 * refusals to play by `POST /control/mail/refuse {code, times, to, at}`.
 */
export function mailPage(mailbox: Mailbox): HttpStandIn {
  return {
    name: "mail",
    mount: "/mail",
    handle({ method, path }) {
      if (method !== "GET" && method !== "HEAD") return { status: 405, headers: { allow: "GET, HEAD" } };
      const [, id = "", part] = path.split("/");
      if (id === "") return page("Mails", list(mailbox.mails));
      const mail = mailbox.mails.find((one) => one.id === id);
      if (!mail) return page("Not found", "<p>There is no such mail any more. <a href='/mail/'>All mails</a></p>", 404);
      // The mail's own markup is somebody else's: shown without scripts, forms or a way to this page.
      if (part === "html")
        return { status: 200, headers: { ...htmlType, "content-security-policy": "sandbox" }, body: mail.html };
      return page(mail.subject, one(mail));
    },
    actions: {
      mails: () => mailbox.mails,
      clear: () => mailbox.clear(),
      refuse: (body) => mailbox.plan(body as Partial<PlannedRefusal>),
      relent: () => mailbox.relent(),
    },
  };
}

const htmlType = { "content-type": "text/html; charset=utf-8" } as const;

function list(mails: readonly ReceivedMail[]): string {
  if (mails.length === 0) return "<p class=quiet>No mail yet. Whatever the service sends turns up here.</p>";
  const rows = mails.toReversed().map(
    ({ id, at, to, subject }) => `<tr><td><a href="/mail/${id}">${escape(subject)}</a></td>
<td>${escape(to.join(", "))}</td><td class=quiet>${clock(at)}</td></tr>`,
  );
  return `<table><thead><tr><th>Subject</th><th>To</th><th>Received</th></tr></thead><tbody>${rows.join("\n")}</tbody></table>`;
}

function one({ id, at, from, to, subject, text, html, headers }: ReceivedMail): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return `<p><a href="/mail/">← All mails</a></p><h2>${escape(subject)}</h2>
<p class=quiet>From ${escape(headers.from ?? from)} to ${escape(to.join(", "))}, ${clock(at)}</p>
<div class=parts><section><h3>HTML part</h3><iframe sandbox src="/mail/${id}/html" title="HTML part"></iframe></section>
<section><h3>Text part</h3><pre>${escape(text)}</pre></section></div>
<details><summary>Headers</summary><pre>${escape(lines.join("\n"))}</pre></details>
${html === "" ? "<p class=quiet>It has no HTML part.</p>" : ""}`;
}

function page(title: string, content: string, status = 200): WireAnswer {
  const policy = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; img-src 'self'";
  const body = `<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<meta http-equiv=refresh content=${title === "Mails" ? 5 : 86400}><title>${escape(title)}</title><style>
body{font:15px/1.5 system-ui,sans-serif;color:#1d2430;background:#f5f6f8;margin:0}
header{background:#1f3a5f;color:#fff;padding:14px 32px}header a{color:#fff;text-decoration:none;font-weight:600}
main{max-width:1080px;margin:24px auto;padding:0 32px}.quiet{color:#6b7482}
table{width:100%;border-collapse:collapse;background:#fff;border:1px solid #dfe3e8;border-radius:8px}
th,td{text-align:left;padding:10px 14px;border-bottom:1px solid #eceff2;overflow-wrap:anywhere}td:last-child{white-space:nowrap}
a{color:#1f5fa8}.parts{display:grid;grid-template-columns:1fr 1fr;gap:20px}section{min-width:0}
iframe,pre{width:100%;box-sizing:border-box;background:#fff;border:1px solid #dfe3e8;border-radius:8px}
iframe{height:440px}pre{padding:14px;white-space:pre-wrap;overflow-wrap:anywhere;margin:0;min-height:440px}
details{margin-top:20px}details pre{min-height:0}@media(max-width:760px){.parts{grid-template-columns:1fr}}
</style><header><a href="/mail/">Mails of the local stack</a></header><main>${content}</main></html>`;
  return { status, headers: { ...htmlType, "content-security-policy": policy }, body };
}

function clock(at: string): string {
  return `${at.slice(0, 10)} ${at.slice(11, 19)} UTC`;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
