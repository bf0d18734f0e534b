import type { Message } from "#infrastructure/providers/smtp.js";

/** Languages that messages are written in; a customer with another one gets English. */
export type Language = "en" | "de";

/** The language of messages for a BCP 47 tag: `de-AT` is served in German. */
export function languageOf(tag: string | null | undefined): Language {
  return tag?.toLowerCase().split("-", 1)[0] === "de" ? "de" : "en";
}

/** A paragraph of a message: plain words, a line that stands out (a code), or an address to follow. */
export type Paragraph = string | { readonly standsOut: string } | { readonly link: string; readonly label: string };

/**
 * A mail made of plain words: the text part and the HTML part say the same. Whatever is put in is escaped, so a
 * customer's name cannot become markup.
 */
export function messageOf(subject: string, paragraphs: readonly Paragraph[], language: Language): Message {
  const text = paragraphs.map((paragraph) => `${asText(paragraph)}\n`).join("\n");
  const html = `<!doctype html>
<html lang="${language}"><head><meta charset="utf-8"><title>${escapeHtml(subject)}</title></head>
<body style="margin:0;padding:24px;background:#f5f6f8;font:16px/1.5 Helvetica,Arial,sans-serif;color:#1d2430">
<div style="max-width:520px;margin:0 auto;padding:24px 32px;background:#ffffff;border-radius:8px">
${paragraphs.map((paragraph) => asHtml(paragraph)).join("\n")}
</div></body></html>
`;
  // A subject is one line, whatever it is made of.
  return { subject: subject.replace(/\s+/g, " ").trim(), text, html };
}

function asText(paragraph: Paragraph): string {
  if (typeof paragraph === "string") return paragraph;
  return "link" in paragraph ? `${paragraph.label}: ${paragraph.link}` : `    ${paragraph.standsOut}`;
}

function asHtml(paragraph: Paragraph): string {
  if (typeof paragraph === "string") return `<p>${escapeHtml(paragraph).replaceAll("\n", "<br>")}</p>`;
  if ("link" in paragraph) {
    const style = "display:inline-block;padding:10px 18px;background:#1f3a5f;color:#ffffff;border-radius:6px";
    return `<p><a href="${escapeHtml(paragraph.link)}" style="${style}">${escapeHtml(paragraph.label)}</a></p>`;
  }
  const style = "font-size:30px;letter-spacing:6px;font-weight:bold;margin:24px 0";
  return `<p style="${style}">${escapeHtml(paragraph.standsOut)}</p>`;
}

/** Text as it may stand in HTML, between tags and in quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
