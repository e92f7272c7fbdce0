// Sends prepared letters with nodemailer's pool; prints {"seconds", "sent"}.
//
// Usage: node nodemailer.mjs ORDER.json, with {folder, port, connections, from, ca, documents, letters}.
// As its documentation says for many messages: one pooled transporter, and the next message is handed
// over when it is idle. Time runs from before the first message until the last one is answered.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const order = JSON.parse(readFileSync(process.argv[2], "utf8"));
const require = createRequire(order.folder + "/package.json");
const nodemailer = require("nodemailer");

const transporter = nodemailer.createTransport({
  pool: true,
  host: "127.0.0.1",
  port: order.port,
  secure: false,
  requireTLS: order.ca !== null,
  ignoreTLS: order.ca === null,
  tls: order.ca === null ? undefined : { ca: readFileSync(order.ca) },
  maxConnections: order.connections,
  maxMessages: Infinity,
});

function message(letter) {
  const attachments = [
    { filename: letter.filename, path: letter.path, contentType: "application/pdf" },
  ];
  return {
    from: order.from,
    to: letter.to,
    subject: letter.subject,
    text: letter.text,
    html: letter.html,
    attachments: order.documents ? attachments : [],
  };
}

let next = 0;
let sent = 0;
let failed = 0;
const began = process.hrtime.bigint();

await new Promise((resolve) => {
  function answered(error) {
    if (error) {
      failed += 1;
      console.error(String(error));
    } else {
      sent += 1;
    }
    if (sent + failed === order.letters.length) {
      resolve();
    }
  }
  function hand() {
    while (transporter.isIdle() && next < order.letters.length) {
      transporter.sendMail(message(order.letters[next]), answered);
      next += 1;
    }
  }
  transporter.on("idle", hand);
  hand();
});

const seconds = Number(process.hrtime.bigint() - began) / 1e9;
console.log(JSON.stringify({ seconds, sent }));
transporter.close();
