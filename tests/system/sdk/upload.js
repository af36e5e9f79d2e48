// Uploads a file, one log per line, through the vendor's SDK: node upload.js PORT FILE
// Key, project and logstore come as SDK_* from the environment.
'use strict';

const fs = require('fs');
const Log = require('./localhost').load('@alicloud/log');

async function main() {
  const [port, file] = process.argv.slice(2);
  const client = new Log({
    accessKeyId: process.env.SDK_KEY_ID,
    accessKeySecret: process.env.SDK_KEY_SECRET,
    endpoint: `http://sls.localhost:${port}`,
  });
  const lines = fs.readFileSync(file, 'utf8').split('\n');
  if (lines[lines.length - 1] === '') {
    lines.pop();
  }
  const timestamp = Math.floor(Date.now() / 1000);
  for (let at = 0; at < lines.length; at += 500) {
    // One after the other: the order of the file is what the test looks for.
    await client.postLogStoreLogs(process.env.SDK_PROJECT, process.env.SDK_LOGSTORE, {
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
