// What the SDK for Node does with a service: a create as JSON and one with a file, a poll, a download, and a signature.
import OpenAI from "openai";

const [baseURL, apiKey, picture, secret, delivered] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey });
const model = "ulazai/kling-3.0";
const file = new File([Buffer.from(picture, "base64")], "boat.png", { type: "image/png" });

const plain = await client.videos.create({ model, prompt: "A boat", seconds: "5", size: "1280x720", metadata: { order: "8841" } });
const pictured = await client.videos.create({ model, prompt: "A boat", input_reference: file, sound: true });
// This SDK has no helper that polls; the header of the other one's holds the answer back until the end.
let ended = plain;
while (["queued", "in_progress"].includes(ended.status)) {
  ended = await client.videos.retrieve(plain.id, { headers: { "X-Stainless-Poll-Helper": "true" } });
}
const film = await (await client.videos.downloadContent(ended.id)).text();
const listed = [];
for await (const one of client.videos.list({ limit: 1 })) listed.push(one.id);
const refused = await client.videos.create({ model: "sora-2", prompt: "A boat" }).catch((error) => error);
const { body, headers } = JSON.parse(Buffer.from(delivered, "base64").toString());
const event = await client.webhooks.unwrap(body, headers, secret);
const { status, message } = refused;
console.log(JSON.stringify({ plain, pictured, ended, film, listed, event, refused: { kind: refused.constructor.name, status, message } }));
