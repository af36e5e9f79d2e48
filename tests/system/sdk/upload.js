// Uploads a file, one log per line, through the vendor's SDK: node upload.js PORT FILE
// Key, project and logstore come as UPLOAD_* from the environment. The SDK speaks to
// <project>.<endpoint>; names below .localhost are this machine (RFC 6761), whatever its resolver
// says, so the look-up is answered here.
'use strict';

const dns = require('dns');
const systemLookup = dns.lookup;
dns.lookup = function lookup(name, options, done) {
  if (!name.endsWith('.localhost')) {
    return systemLookup(name, options, done);
  }
  const callback = typeof options === 'function' ? options : done;
  const all = typeof options === 'object' && options.all;
  return process.nextTick(() => (all ? callback(null, [{ address: '127.0.0.1', family: 4 }])
    : callback(null, '127.0.0.1', 4)));
};

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');
// The package is installed in the build folder, beside no source of ours.
const Log = createRequire(path.join(process.env.UPLOAD_MODULES, 'x.js'))('@alicloud/log');

async function main() {
  const [port, file] = process.argv.slice(2);
  const client = new Log({
    accessKeyId: process.env.UPLOAD_KEY_ID,
    accessKeySecret: process.env.UPLOAD_KEY_SECRET,
    endpoint: `http://sls.localhost:${port}`,
  });
  const lines = fs.readFileSync(file, 'utf8').split('\n');
  if (lines[lines.length - 1] === '') {
    lines.pop();
  }
  const timestamp = Math.floor(Date.now() / 1000);
  for (let at = 0; at < lines.length; at += 500) {
    // One after the other: the order of the file is what the test looks for.
    await client.postLogStoreLogs(process.env.UPLOAD_PROJECT, process.env.UPLOAD_LOGSTORE, {
      logs: lines.slice(at, at + 500).map((content) => ({ timestamp, content: { content } })),
      tags: [{ __path__: file }],
      topic: 'package-manager',
      source: '127.0.0.1',
    });
  }
  console.log(`uploaded ${lines.length} lines`);
}

main().catch((error) => {
  console.error(`upload: ${error.code || ''} ${error.message}`);
  process.exit(1);
});
