// BullMQ on Redis with undici. `fill` queues the deliveries in bulk; `work` delivers them, many at once, as its guide to
// concurrency says for what waits on the network; finished ones are removed.
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Queue, Worker } from 'bullmq';
import { Agent, request } from 'undici';

const { PEER_REDIS, PEER_URL, PEER_BODY, PEER_COUNT } = process.env;
const connection = { url: PEER_REDIS, maxRetriesPerRequest: null };
const IN_FLIGHT = 64;
const key = Buffer.alloc(24, 'k');

async function fill() {
  const queue = new Queue('deliveries', { connection });
  const body = readFileSync(PEER_BODY, 'utf8');
  const options = { attempts: 10, backoff: { type: 'exponential', delay: 5000 }, removeOnComplete: true };
  for (let start = 0; start < Number(PEER_COUNT); start += 500) {
    const some = [];
    for (let number = start; number < Math.min(start + 500, Number(PEER_COUNT)); number++) {
      some.push({ name: 'deliver', data: { id: `evt_${String(number).padStart(26, '0')}`, body }, opts: options });
    }
    await queue.addBulk(some);
  }
  await queue.close();
}

function work() {
  const dispatcher = new Agent({ connections: IN_FLIGHT, bodyTimeout: 15000, headersTimeout: 15000 });
  const deliver = async ({ data: { id, body } }) => {
    const stamp = String(Math.floor(Date.now() / 1000));
    const signature = createHmac('sha256', key).update(`${id}.${stamp}.${body}`).digest('base64');
    const answer = await request(PEER_URL, {
      method: 'POST',
      dispatcher,
      body,
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': stamp,
        'webhook-signature': `v1,${signature}`,
        'user-agent': 'bench',
      },
    });
    await answer.body.dump();
    if (answer.statusCode >= 300) throw new Error(`HTTP ${answer.statusCode}`);
  };
  const worker = new Worker('deliveries', deliver, { connection, concurrency: IN_FLIGHT });
  process.on('SIGTERM', () => worker.close(true).then(() => process.exit(0)));
}

if (process.argv[2] === 'fill') await fill();
else work();
