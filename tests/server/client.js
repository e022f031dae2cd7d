// A program of someone who uses ioredis: appends, reads, waits, commits, watches, scans, publishes,
// sends a message, comes back after its connections were closed. Prints "done".
const Redis = require(process.argv[3] + '/node_modules/ioredis');
const assert = require('node:assert');

async function main() {
  const client = new Redis({ port: Number(process.argv[2]), connectionName: 'node' });
  const reader = client.duplicate();
  await client.del('node');
  assert.equal(await client.xadd('node', '*', 'text', '你好'), '1-0');
  assert.deepEqual(await client.xrange('node', '-', '+'), [['1-0', ['text', '你好']]]);
  const waiting = reader.xread('BLOCK', 10000, 'STREAMS', 'node', '1-0');
  const replies = await client.multi().xadd('node', '*', 'n', '2').xlen('node').exec();
  assert.deepEqual(replies, [[null, '2-0'], [null, 2]]);
  assert.deepEqual(await waiting, [['node', [['2-0', ['n', '2']]]]]);
  const many = await Promise.all(Array.from({ length: 100 }, () => client.xadd('node', '*', 'f', 'v')));
  assert.equal(many[99], '102-0');
  const names = [];
  for await (const page of client.scanStream({ match: 'no*' })) names.push(...page);
  assert.deepEqual(names, ['node']);
  await assert.rejects(client.xadd('node', '1-0', 'f', 'v'), /equal or smaller/);
  await assert.rejects(client.xadd('@conv:a', '*', 'f', 'v'), /NOPERM/);

  await client.watch('node');
  await reader.xadd('node', '*', 'f', 'between');
  assert.equal(await client.multi().xadd('node', '*', 'f', 'v').exec(), null);
  await client.watch('node');
  assert.deepEqual(await client.multi().xlen('node').exec(), [[null, 103]]);

  await client.call('CONV.CREATE', 'js', 'ann', 'MEMBERS', 1, 'bob');
  const sent = await client.call('CONV.SEND', 'js', 'ann', 'KEY', 'k', '*', 'text', 'hi');
  assert.equal(sent[2], 'stored');

  const listener = client.duplicate();
  const heard = [];
  const hears = (count) => new Promise((done) => {
    const look = () => (heard.length >= count ? done(heard.splice(0)) : setImmediate(look));
    look();
  });
  listener.on('message', (channel, message) => heard.push([channel, message]));
  listener.on('pmessage', (pattern, channel, message) => heard.push([pattern, channel, message]));
  listener.on('error', () => {});  // it is closed below, on purpose
  await listener.subscribe('news', 'sync:bob:phone');
  await listener.psubscribe('n?ws');
  assert.equal((await hears(1))[0][0], 'sync:bob:phone');
  assert.equal(await client.publish('news', 'one'), 2);
  assert.deepEqual(await hears(2), [['news', 'one'], ['n?ws', 'news', 'one']]);
  const there = () => client.pubsub('NUMSUB', 'news').then((found) => found[1]);
  await client.client('KILL', 'TYPE', 'pubsub');  // it connects and subscribes again by itself
  while (await there() !== 1 || await client.pubsub('NUMPAT') !== 1);
  await client.publish('news', 'two');
  assert.deepEqual((await hears(3)).slice(-2), [['news', 'two'], ['n?ws', 'news', 'two']]);

  listener.disconnect();
  await Promise.all([client.quit(), reader.quit()]);
  console.log('done');
}

main().catch((problem) => { console.error(problem); process.exit(1); });
