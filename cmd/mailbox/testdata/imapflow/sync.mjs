// Keeps a copy of a mailbox with imapflow; called by TestImapFlow as
// "node sync.mjs PORT CA PASSWORD CACHE [PLAN]". It does what the plan says on the
// server, brings the copy up to date, and prints what is in it.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { ImapFlow } from 'imapflow';

const [port, ca, password, cacheFile, planFile] = process.argv.slice(2);
const cache = existsSync(cacheFile) ? JSON.parse(readFileSync(cacheFile)) : {};
const client = new ImapFlow({
    host: 'localhost',
    port: Number(port),
    doSTARTTLS: true,
    tls: { ca: readFileSync(ca) },
    auth: { user: 'alice@home.example', pass: password },
    qresync: true,
    logger: { trace() {}, debug: log, info() {}, warn: log, error: log }
});

function log(entry) {
    console.error(entry.src === 'c' || entry.err ? entry.err || entry.msg : '');
}

const digest = text => createHash('sha256').update(text).digest('hex').slice(0, 16);
const keywords = flags => [...flags].filter(flag => flag !== '\\Recent').sort();

client.on('expunge', event => delete cache[event.path]?.messages[event.uid]);
client.on('flags', event => {
    const known = cache[event.path]?.messages[event.uid];
    if (known) {
        known.flags = keywords(event.flags);
    }
});

// uidOf finds a message by its digest.
function uidOf(folder, wanted) {
    return Object.entries(cache[folder].messages).find(([, message]) => message.digest === wanted)[0];
}

async function carryOut(verb, folder, wanted, to, file) {
    switch (verb) {
        case 'create':
            return client.mailboxCreate(folder);
        case 'append':
            return client.append(folder, readFileSync(file), [to]);
    }
    await open(folder);
    const uid = uidOf(folder, wanted);
    switch (verb) {
        case 'delete':
            return client.messageDelete(uid, { uid: true });
        case 'flag':
            return client.messageFlagsAdd(uid, [to], { uid: true });
        case 'unflag':
            return client.messageFlagsRemove(uid, [to], { uid: true });
        case 'move':
            return client.messageMove(uid, to, { uid: true });
    }
}

// open selects a folder, and hears of what changed in it.
async function open(path) {
    if (client.mailbox?.path === path) {
        return;
    }
    const known = cache[path];
    await client.mailboxOpen(path, known ? { changedSince: BigInt(known.modseq), uidValidity: BigInt(known.uidValidity) } : {});
}

async function sync(path) {
    await open(path);
    cache[path] ||= { messages: {}, next: 1 };
    const known = cache[path];
    known.uidValidity = String(client.mailbox.uidValidity);
    if (client.mailbox.exists > 0) {
        for await (const message of client.fetch(`${known.next}:*`, { flags: true, source: true, uid: true }, { uid: true })) {
            known.messages[message.uid] = { digest: digest(message.source), flags: keywords(message.flags) };
        }
    }
    known.next = client.mailbox.uidNext;
    known.modseq = String(client.mailbox.highestModseq);
}

await client.connect();
if (planFile) {
    for (const line of readFileSync(planFile, 'utf8').trimEnd().split('\n')) {
        await carryOut(...line.split('\t'));
    }
    await client.mailboxClose();
}
const folders = (await client.list()).map(folder => folder.path);
for (const path of folders) {
    await sync(path);
}
await client.logout();
for (const path of Object.keys(cache)) {
    if (!folders.includes(path)) {
        delete cache[path];
    }
}
writeFileSync(cacheFile, JSON.stringify(cache));
for (const [path, { messages }] of Object.entries(cache)) {
    console.log([path, '', ''].join('\t'));
    for (const message of Object.values(messages)) {
        console.log([path, message.digest, message.flags.join(' ')].join('\t'));
    }
}
