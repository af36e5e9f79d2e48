// What the SDK scripts share: the SDKs speak to <project>.<endpoint>; names below .localhost are this
// machine (RFC 6761), whatever its resolver says, so the look-up is answered here. And the packages
// are installed in the build folder, beside no source of ours.
'use strict';

const dns = require('dns');
const path = require('path');
const { createRequire } = require('module');

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

exports.load = createRequire(path.join(process.env.SDK_MODULES, 'x.js'));
