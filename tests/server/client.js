// A program of someone who uses ioredis: appends, reads, waits, commits, scans. Prints "done".
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
  await Promise.all([client.quit(), reader.quit()]);
  console.log('done');
}

main().catch((problem) => { console.error(problem); process.exit(1); });
