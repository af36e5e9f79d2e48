// A consumer group's whole life through one of the vendor's SDKs: node session.js PORT SDK
//   log    @alicloud/log (signature version 1)
//   v4     @alicloud/sls20201230 (Darabonba, signature version 4)
//   v1     the same with its version 1, which is HMAC-SHA256
// Both the SDKs' own methods and, where they have none that works, their generic request with its
// signature and its compression. Keys come as SDK_* from the environment.
'use strict';

const assert = require('assert');
const { load } = require('./localhost');

const [port, sdk] = process.argv.slice(2);
const project = `sdk-${sdk}`;
const store = 'events';
const group = 'readers';
const key = {
  accessKeyId: process.env.SDK_KEY_ID,
  accessKeySecret: process.env.SDK_KEY_SECRET,
  securityToken: process.env.SDK_TOKEN || undefined,
};

// The LogGroup of one upload, by the schema that comes with @alicloud/log.
const protobuf = load('protobufjs');
const schema = protobuf.loadSync(load.resolve('@alicloud/log/lib/sls.proto'));
const LogGroup = schema.lookupType('sls.LogGroup');

const logs = ['one', 'zwei', '三'].map((text, i) => ({
  Time: 1800000000 + i, Contents: [{ Key: 'text', Value: text }],
}));

// One interface over both, in the words of the service.
function olderSdk() {
  const Log = load('@alicloud/log');
  const client = new Log({ ...key, endpoint: `http://sls.localhost:${port}` });
  const base = `/logstores/${store}`;
  const groups = `${base}/consumergroups`;
  const call = (method, path, query, body) => client._request(method, project, path, query || {},
    body === undefined ? null : Buffer.from(JSON.stringify(body)), {});
  return {
    createProject: () => client.createProject(project, { description: 'made by a test' }),
    createStore: () => client.createLogStore(project, store, { ttl: 7, shardCount: 2 }),
    getStore: () => client.getLogStore(project, store),
    listStores: () => client.listLogStore(project),
    put: () => client.postLogStoreLogs(project, store, {
      logs: logs.map((l) => ({ timestamp: l.Time, content: { text: l.Contents[0].Value } })),
      topic: 'greetings',
      source: '10.1.2.3',
      tags: [{ host: 'a' }],
    }),
    cursor: async (shard, from) => (await call('GET', `${base}/shards/${shard}`,
      { type: 'cursor', from })).cursor,
    cursorTime: async (shard, cursor) => (await call('GET', `${base}/shards/${shard}`,
      { type: 'cursor_time', cursor })).cursor_time,
    // Its answers are read as UTF-8 text; the text of these logs is, their framing need not be.
    pull: async (shard, cursor) => Buffer.from(await call('GET', `${base}/shards/${shard}`,
      { type: 'log', cursor, count: 10 }), 'utf8'),
    shards: () => call('GET', `${base}/shards`),
    split: (shard, at) => call('POST', `${base}/shards/${shard}`, { action: 'split', key: at }),
    merge: (shard) => call('POST', `${base}/shards/${shard}`, { action: 'merge' }),
    createGroup: () => call('POST', groups, {}, { consumerGroup: group, timeout: 60, order: false }),
    updateGroup: () => call('PUT', `${groups}/${group}`, {}, { timeout: 50, order: true }),
    listGroups: () => call('GET', groups),
    beat: (consumer, held) => call('POST', `${groups}/${group}`, { type: 'heartbeat', consumer }, held),
    store: (consumer, shard, checkpoint) => call('POST', `${groups}/${group}`,
      { type: 'checkpoint', consumer, forceSuccess: false }, { shard, checkpoint }),
    stored: (shard) => call('GET', `${groups}/${group}`, { shard }),
    deleteGroup: () => call('DELETE', `${groups}/${group}`),
    deleteStore: () => client.deleteLogStore(project, store),
    deleteProject: () => client.deleteProject(project),
  };
}

function newerSdk(signatureVersion) {
  const sls = load('@alicloud/sls20201230');
  const core = load('@alicloud/openapi-core').$OpenApiUtil;
  const { RuntimeOptions } = load('@darabonba/typescript');
  const Client = sls.default;
  const client = new Client(new core.Config({
    ...key, protocol: 'HTTP', endpoint: `sls.localhost:${port}`, regionId: 'sim-1', signatureVersion,
  }));
  client._signatureVersion = signatureVersion;
  // Version 5.9.0 has no way to give putLogs bytes, nor pullLogs a project: its own gateway has.
  const raw = (action, method, pathname, query, body) => client.execute(new core.Params({
    action, version: '2020-12-30', protocol: 'HTTP', pathname, method, authType: 'AK', style: 'ROA',
    reqBodyType: 'binary', bodyType: 'byte',
  }), new core.OpenApiRequest({
    hostMap: { project }, query, body, headers: body ? { 'content-type': 'application/x-protobuf' } : {},
  }), new RuntimeOptions({}));
  const body = (answer) => answer.body;
  return {
    createProject: () => client.createProject(new sls.CreateProjectRequest(
      { projectName: project, description: 'made by a test' })),
    createStore: () => client.createLogStore(project, new sls.CreateLogStoreRequest(
      { logstoreName: store, ttl: 7, shardCount: 2, appendMeta: false })),
    getStore: async () => body(await client.getLogStore(project, store)),
    listStores: async () => body(await client.listLogStores(project,
      new sls.ListLogStoresRequest({ offset: 0, size: 10 }))),
    put: () => raw('PutLogs', 'POST', `/logstores/${store}/shards/lb`, {}, Buffer.from(LogGroup.encode({
      Logs: logs, Topic: 'greetings', Source: '10.1.2.3', LogTags: [{ Key: 'host', Value: 'a' }],
    }).finish())),
    cursor: async (shard, from) => body(await client.getCursor(project, store, shard,
      new sls.GetCursorRequest({ from }))).cursor,
    cursorTime: async (shard, cursor) => body(await client.getCursorTime(project, store, shard,
      new sls.GetCursorTimeRequest({ cursor }))).cursorTime,
    pull: async (shard, cursor) => body(await raw('PullLogs', 'GET',
      `/logstores/${store}/shards/${shard}?type=log`, { cursor, count: '10' })),
    shards: async () => body(await client.listShards(project, store)),
    split: async (shard, at) => body(await client.splitShard(project, store, shard,
      new sls.SplitShardRequest({ key: at }))),
    merge: async (shard) => body(await client.mergeShard(project, store, shard)),
    createGroup: () => client.createConsumerGroup(project, store, new sls.CreateConsumerGroupRequest(
      { consumerGroup: group, timeout: 60, order: false })),
    updateGroup: () => client.updateConsumerGroup(project, store, group,
      new sls.UpdateConsumerGroupRequest({ timeout: 50, order: true })),
    listGroups: async () => body(await client.listConsumerGroup(project, store)),
    beat: async (consumer, held) => body(await client.consumerGroupHeartBeat(project, store, group,
      new sls.ConsumerGroupHeartBeatRequest({ consumer, body: held }))),
    store: (consumer, shard, checkpoint) => client.consumerGroupUpdateCheckPoint(project, store, group,
      new sls.ConsumerGroupUpdateCheckPointRequest(
        { consumer, forceSuccess: false, shard, checkpoint })),
    stored: async (shard) => body(await client.getCheckPoint(project, store, group,
      new sls.GetCheckPointRequest({ shard }))),
    deleteGroup: () => client.deleteConsumerGroup(project, store, group),
    deleteStore: () => client.deleteLogStore(project, store),
    deleteProject: () => client.deleteProject(project, new sls.DeleteProjectRequest({})),
  };
}

async function refused(code, call) {
  await assert.rejects(call, (error) => {
    assert.strictEqual(error.code, code, `${error.code}: ${error.message}`);
    return true;
  });
}

const ids = (shards) => shards.map((s) => s.shardID).sort((a, b) => a - b);

async function main() {
  const s = sdk === 'log' ? olderSdk() : newerSdk(sdk);

  await s.createProject();
  await refused('ProjectAlreadyExist', () => s.createProject());
  await s.createStore();
  await refused('LogStoreAlreadyExist', () => s.createStore());
  const info = await s.getStore();
  assert.strictEqual(info.logstoreName, store);
  assert.deepStrictEqual((await s.listStores()).logstores, [store]);
  assert.deepStrictEqual(ids(await s.shards()), [0, 1]);

  const begin = await s.cursor(0, 'begin');
  assert.strictEqual(await s.cursor(0, 'end'), begin);
  await s.put();
  const end = await s.cursor(0, 'end');
  assert.notStrictEqual(end, begin);
  assert.ok(Math.abs(Number(await s.cursorTime(0, begin)) - Date.now() / 1000) < 600);
  const pulled = await s.pull(0, begin);
  for (const { Contents } of logs) {
    assert.ok(pulled.includes(Contents[0].Value), `pulled without ${Contents[0].Value}`);
  }
  if (sdk !== 'log') { // bytes as they are: the whole list has to be what went in
    const list = protobuf.Reader.create(pulled);
    assert.strictEqual(list.uint32() >>> 3, 1);
    const back = LogGroup.toObject(LogGroup.decode(list.bytes()));
    assert.deepStrictEqual(back.Logs, logs);
    assert.strictEqual(list.pos, list.len);
  }
  assert.strictEqual((await s.pull(0, end)).length, 0);

  await s.createGroup();
  await refused('ConsumerGroupAlreadyExist', () => s.createGroup());
  await s.updateGroup();
  const [listed] = await s.listGroups();
  assert.deepStrictEqual([listed.name, listed.timeout, listed.order], [group, 50, true]);
  assert.deepStrictEqual(await s.beat('a', []), [0, 1]);
  assert.deepStrictEqual(await s.beat('b b/1', []), []);
  assert.deepStrictEqual(await s.beat('a', [0, 1]), [0]);
  assert.deepStrictEqual(await s.beat('a', [0]), [0]);
  assert.deepStrictEqual(await s.beat('b b/1', []), [1]);
  await s.store('a', 0, end);
  await refused('ConsumerNotMatch', () => s.store('a', 1, end));
  await refused('NotExistConsumerWithBody', () => s.beat('c', [0]));
  const [checkpoint] = await s.stored(0);
  assert.deepStrictEqual([checkpoint.shard, checkpoint.checkpoint, checkpoint.consumer], [0, end, 'a']);

  assert.deepStrictEqual(ids(await s.split(0, `40${'0'.repeat(30)}`)), [0, 2, 3]);
  assert.deepStrictEqual(await s.beat('a', [0]), [], 'read to its end: over');
  assert.deepStrictEqual(await s.beat('a', []), [2, 3], 'its children follow');
  assert.deepStrictEqual(ids(await s.merge(2)), [2, 3, 4]);
  const states = Object.fromEntries((await s.shards()).map((x) => [x.shardID, x.status]));
  assert.deepStrictEqual(states,
    { 0: 'readonly', 1: 'readwrite', 2: 'readonly', 3: 'readonly', 4: 'readwrite' });

  await s.deleteGroup();
  await refused('ConsumerGroupNotExist', () => s.beat('a', []));
  await s.deleteStore();
  await refused('LogStoreNotExist', () => s.shards());
  await s.deleteProject();
  await refused('ProjectNotExist', () => s.getStore());
  console.log(`session by ${sdk}: ok`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
