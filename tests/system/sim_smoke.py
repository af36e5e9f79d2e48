#!/usr/bin/python3
"""sim_smoke: the simulator as a foreign client sees it.

Story: a client that shares no code with us signs its own version 1 requests. It uploads, pulls, splits
and merges, two consumers share the shards, and every ordered fault comes exactly as often as ordered.
Then the recorded session of an official client is sent again, on a clock that goes with it: each answer must
have the recorded status, error code and shape, each heartbeat the recorded shards.
Usage: sim_smoke.py PATH-OF-SLS-SIM [PATH-OF-VECTORS]"""
import base64, datetime, email.utils, hashlib, hmac, http.client, json, os, signal, subprocess, sys, tempfile
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, '..', 'vectors')
ID, SECRET = 'tester', 'tester-secret'


class Sim:
    def __init__(self, program, *args, date=None):
        self.date = date  # of every request, for a clock that stands
        self.proc = subprocess.Popen([program, '--listen', '127.0.0.1:0', *args],
                                     stdout=subprocess.PIPE, text=True)
        for line in self.proc.stdout:
            if 'listening on' in line:
                self.port = int(line.rsplit(':', 1)[1])
                break
        else:
            raise SystemExit('the simulator did not start')
        self.connect()

    def connect(self):
        self.http = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)

    def close(self):
        self.http.close()
        self.proc.send_signal(signal.SIGTERM)
        assert self.proc.wait() == 0, 'exit code of the simulator'

    def control(self, what, body=None):
        self.http.request('GET' if body is None else 'POST', '/_sim/' + what,
                          None if body is None else json.dumps(body))
        answer = self.http.getresponse()
        data = answer.read()
        assert answer.status == 200, data
        return json.loads(data) if data else None

    def call(self, method, path, query='', body=b'', headers=None, project='demo', date=None):
        """Signs and sends; returns status, headers, body."""
        h = {'x-log-apiversion': '0.6.0', 'x-log-signaturemethod': 'hmac-sha1',
             'Date': date or self.date or email.utils.formatdate(usegmt=True),
             'Host': project + '.sls.example.com'}
        h.update(headers or {})
        if body:
            h['Content-MD5'] = hashlib.md5(body).hexdigest().upper()
            h.setdefault('Content-Type', 'application/json')
        signed = sorted((k.lower(), v) for k, v in h.items() if k.lower().startswith(('x-log-', 'x-acs-')))
        params = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
        resource = path + ('?' + '&'.join(k + '=' + v for k, v in params) if params else '')
        text = '\n'.join([method, h.get('Content-MD5', ''), h.get('Content-Type', ''), h['Date']] +
                         [k + ':' + v for k, v in signed] + [resource])
        mac = hmac.new(SECRET.encode(), text.encode(), hashlib.sha1).digest()
        h['Authorization'] = 'LOG %s:%s' % (ID, base64.b64encode(mac).decode())
        self.http.request(method, path + ('?' + query if query else ''), body or None, h)
        answer = self.http.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def ok(self, *args, **kw):
        status, headers, body = self.call(*args, **kw)
        assert status == 200, (args, status, body)
        assert len(headers['x-log-requestid']) == 24
        return headers, (json.loads(body) if headers.get('content-type') == 'application/json' else body)

    def refused(self, want_status, want_code, *args, **kw):
        status, _, body = self.call(*args, **kw)
        got = json.loads(body)
        assert (status, got['errorCode']) == (want_status, want_code), (args, status, got)
        assert got['errorMessage']

    def beat(self, consumer, shards):
        return self.ok('POST', LS + '/consumergroups/cg', 'type=heartbeat&consumer=' + consumer,
                       json.dumps(shards).encode())[1]

    def checkpoint(self, consumer, shard, cursor, force='False'):
        return self.call('POST', LS + '/consumergroups/cg',
                         'type=checkpoint&consumer=%s&forceSuccess=%s' % (consumer, force),
                         json.dumps({'shard': shard, 'checkpoint': cursor}).encode())


LS = '/logstores/audit'


def varint(n):
    out = b''
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def group(n):
    pair = field(1, b'n') + field(2, str(n).encode())
    log = b'\x08' + varint(1735787045) + field(2, pair)
    return field(1, log) + field(3, b'topic')


def unlz4(data, size):
    """LZ4 block decoder in plain Python."""
    out, i = bytearray(), 0

    def more(n):
        nonlocal i
        if n == 15:
            while True:
                byte = data[i]
                i += 1
                n += byte
                if byte != 255:
                    break
        return n
    while i < len(data):
        token = data[i]
        i += 1
        n = more(token >> 4)
        out += data[i:i + n]
        i += n
        if i >= len(data):
            break
        offset = data[i] | data[i + 1] << 8
        i += 2
        for _ in range(more(token & 15) + 4):
            out.append(out[-offset])
    assert len(out) == size, (len(out), size)
    return bytes(out)


def pull(sim, shard, cursor, count=1000, accept='lz4', extra=''):
    headers, body = sim.ok('GET', LS + '/shards/%d' % shard, 'type=log&cursor=%s&count=%d%s' % (
        urllib.parse.quote(cursor, safe=''), count, extra),
        headers={'Accept-Encoding': accept, 'Accept': 'application/x-protobuf'})
    if headers.get('x-log-compresstype') == 'lz4':
        body = unlz4(body, int(headers['x-log-bodyrawsize']))
    assert len(body) == int(headers['x-log-bodyrawsize'])
    return headers['x-log-cursor'], int(headers['x-log-count']), body


def cursor(sim, shard, where='begin'):
    return sim.ok('GET', LS + '/shards/%d' % shard, 'type=cursor&from=' + where)[1]['cursor']


def number(text):
    return int(base64.b64decode(text))


def test_data(program):
    sim = Sim(program, '--access-key', ID + ':' + SECRET, '--logstore', 'audit:2')
    for n in range(4):
        body = group(n)
        sim.ok('POST', LS + '/shards/lb', '', body, {
            'Content-Type': 'application/x-protobuf', 'x-log-bodyrawsize': str(len(body))})
    begin, end = cursor(sim, 0), cursor(sim, 0, 'end')
    assert number(end) - number(begin) == 2
    next_cursor, count, body = pull(sim, 0, begin)
    assert (next_cursor, count, body) == (end, 2, field(1, group(0)) + field(1, group(2)))
    assert pull(sim, 0, begin, 1, '') == (base64.b64encode(b'%d' % (number(begin) + 1)).decode(), 1,
                                          field(1, group(0)))
    assert pull(sim, 0, end)[:2] == (end, 0)
    assert pull(sim, 0, begin, extra='&end_cursor=' + urllib.parse.quote(begin, safe=''))[:2] == (begin, 0)
    for bad in ('type=log&cursor=%s&count=0', 'type=log&cursor=%s&count=1001'):
        sim.refused(400, 'ParameterInvalid', 'GET', LS + '/shards/0', bad % urllib.parse.quote(begin, safe=''))
    for bad in ('MQ==', 'xx!', '', 'YWJj'):
        sim.refused(400, 'InvalidCursor', 'GET', LS + '/shards/0', 'type=log&count=1&cursor=' + urllib.parse.quote(bad))
    raw = {'Content-Type': 'application/x-protobuf', 'x-log-bodyrawsize': '3'}
    sim.refused(400, 'PostBodyInvalid', 'POST', LS, '', b'\x0a\x05x', raw)
    sim.refused(400, 'PostBodyUncompressError', 'POST', LS, '', b'\xff\xff', {**raw, 'x-log-compresstype': 'lz4'})
    sim.refused(400, 'InvalidCompressType', 'POST', LS, '', b'xxx', {**raw, 'x-log-compresstype': 'rar'})
    sim.refused(400, 'RequestTimeTooSkewed', 'GET', LS + '/shards', date='Thu, 02 Jan 2025 03:04:05 GMT')
    sim.refused(404, 'ProjectNotExist', 'GET', LS + '/shards', project='other')
    sim.control('trim', {'logstore': 'audit', 'shard': 0, 'keep': 1})
    sim.refused(400, 'InvalidCursor', 'GET', LS + '/shards/0', 'type=log&count=1&cursor=' + urllib.parse.quote(begin, safe=''))
    stats = sim.control('stats')
    assert stats['logstores'][0]['logs'] == 4 and stats['error_codes']['InvalidCursor'] == 5, stats
    sim.close()


def all_of(sim, shard, count):
    """The groups of a shard, pulled so many at a time: lists of groups, one behind the other."""
    at, body = cursor(sim, shard), b''
    while True:
        at, groups, more = pull(sim, shard, at, count)
        if groups == 0:
            return body
        body += more


def test_promised(program):
    """Generated logs that wait to be read are those that a state file makes the program write down."""
    clock = ('--clock', '20250102T030405Z', '--access-key', ID + ':' + SECRET, '--seed', '9')
    date = email.utils.format_datetime(datetime.datetime(2025, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
                                       usegmt=True)
    with tempfile.TemporaryDirectory() as folder:
        written = Sim(program, *clock, '--generate', '3333', '--state', os.path.join(folder, 'state'), date=date)
        promised = Sim(program, *clock, '--generate', '3333', date=date)
        for shard in (0, 1):
            logs = all_of(written, shard, 1000)
            assert len(logs) > 500000, 'a shard without logs'
            for count in (1000, 7, 1000):
                assert all_of(promised, shard, count) == logs, 'other logs when they are made late'
        mine, theirs = [[(s['logs'], s['bytes'], s['end_cursor']) for s in sim.control('stats')['logstores'][0]['shards']]
                        for sim in (promised, written)]
        assert mine == theirs, (mine, theirs)
        written.close()
        promised.close()
    many = Sim(program, *clock, '--generate', '20000000', date=date)  # 10 GB, if they were kept
    with open('/proc/%d/status' % many.proc.pid) as status:
        peak_kb = int(next(line for line in status if line.startswith('VmHWM')).split()[1])
    assert peak_kb < 500000, 'logs were kept: %d kB' % peak_kb
    end = cursor(many, 1, 'end')
    last = base64.b64encode(str(int(base64.b64decode(end)) - 1).encode()).decode()
    assert pull(many, 1, last, 1)[1] == 1, 'the newest group'
    many.close()


def test_groups(program):
    sim = Sim(program, '--access-key', ID + ':' + SECRET, '--logstore', 'audit:2', '--generate', '160')
    base = LS + '/consumergroups'
    sim.ok('POST', base, '', b'{"consumerGroup":"cg","timeout":60,"order":true}')
    sim.refused(400, 'ConsumerGroupAlreadyExist', 'POST', base, '', b'{"consumerGroup":"cg","timeout":60}')
    sim.refused(400, 'JsonInfoInvalid', 'POST', base, '', b'{"consumerGroup":"x","timeout":"60"}')
    assert sim.ok('GET', base)[1] == [{'name': 'cg', 'timeout': 60, 'order': True}]
    assert sim.beat('a', []) == [0, 1]
    assert sim.beat('b', []) == []
    assert sim.beat('a', [0, 1]) == [0]
    assert sim.beat('b', []) == []
    assert sim.checkpoint('a', 1, cursor(sim, 1))[0] == 200, 'the holder may still store while in transfer'
    assert sim.beat('a', [0]) == [0]
    assert sim.beat('b', []) == [1]
    assert json.loads(sim.checkpoint('a', 1, 'MQ==')[2])['errorCode'] == 'ConsumerNotMatch'
    assert json.loads(sim.checkpoint('ghost', 1, 'MQ==')[2])['errorCode'] == 'ConsumerNotExist'
    assert json.loads(sim.checkpoint('b', 1, '***')[2])['errorCode'] == 'InvalidShardCheckPoint'
    assert json.loads(sim.checkpoint('b', 9, 'MQ==')[2])['errorCode'] == 'ShardNotExist'
    sim.refused(400, 'NotExistConsumerWithBody', 'POST', base + '/cg', 'type=heartbeat&consumer=ghost', b'[1]')
    shards = sim.ok('POST', LS + '/shards/0', 'action=split&key=' + '40'.ljust(32, '0'))[1]
    assert [(s['shardID'], s['status']) for s in shards] == [(0, 'readonly'), (2, 'readwrite'), (3, 'readwrite')]
    assert sim.beat('a', [0]) == [0]
    assert sim.checkpoint('a', 0, cursor(sim, 0, 'end'))[0] == 200
    assert sim.beat('a', []) == [2, 3], 'children start once the parent is over'
    assert sim.beat('b', [1]) == [1]
    stored = sim.ok('GET', base + '/cg', 'shard=0')[1]
    assert stored[0]['checkpoint'] == cursor(sim, 0, 'end') and stored[0]['consumer'] == ''
    assert sim.ok('GET', base + '/cg', 'shard=2')[1][0]['checkpoint'] == ''
    assert sim.ok('GET', base + '/cg', 'shard=77')[1] == []
    sim.control('expire', {'logstore': 'audit', 'group': 'cg'})
    sim.refused(400, 'NotExistConsumerWithBody', 'POST', base + '/cg', 'type=heartbeat&consumer=a', b'[2]')
    merged = sim.ok('POST', LS + '/shards/2', 'action=merge')[1]
    assert [s['shardID'] for s in merged] == [4, 2, 3]
    seen = []
    for shard in (0, 1):
        at = cursor(sim, shard)
        while True:
            at, count, body = pull(sim, shard, at, 3)
            if count == 0:
                break
            seen += [int(part[3:3 + part[2]].decode()) for part in body.split(b'\x0a\x01n')[1:]
                     for part in [b'\0' + part]]
    assert sorted(seen) == list(range(160)), 'every generated log once'
    sim.close()


def test_faults(program):
    sim = Sim(program, '--access-key', ID + ':' + SECRET, '--generate', '40', '--fault', 'pull:quota:2')
    query = 'type=log&count=10&cursor=' + urllib.parse.quote(cursor(sim, 0), safe='')
    args = ('GET', LS + '/shards/0', query)
    lz4 = {'Accept-Encoding': 'lz4'}
    for _ in range(2):
        sim.refused(403, 'ReadQuotaExceed', *args)
    good_headers, good = sim.ok(*args, headers=lz4)
    sim.control('faults', ['pull:truncate', 'pull:corrupt', 'pull:rawsize=+5', 'pull:empty-error', 'pull:html',
                           'any:error=500/InternalServerError'])
    status, _, body = sim.call(*args, headers=lz4)
    assert status == 500 and b'InternalServerError' in body
    assert sim.call(*args, headers=lz4)[::2] == (500, b'')
    status, headers, body = sim.call(*args, headers=lz4)
    assert status == 502 and body.startswith(b'<html>')
    headers, body = sim.ok(*args, headers=lz4)
    assert len(body) == len(good) // 2 and body != good[:len(body)]
    assert int(headers['x-log-bodyrawsize']) == int(good_headers['x-log-bodyrawsize']) + 5
    assert sim.ok(*args, headers=lz4)[1] == good
    for kind in ('drop', 'drop=answer', 'drop=body'):
        sim.control('faults', ['pull:' + kind])
        try:
            sim.call(*args, headers=lz4)
            raise SystemExit(kind + ' gave an answer')
        except (http.client.HTTPException, ConnectionError):
            sim.connect()
    sim.control('faults', ['pull:skew=-3600'])
    sim.refused(400, 'RequestTimeTooSkewed', *args)
    sim.control('clock', {'skew_s': 3600})
    sim.refused(400, 'RequestTimeTooSkewed', *args)
    sim.control('clock', {'skew_s': 0})
    sim.control('token', {'token': 'new'})
    sim.refused(401, 'Unauthorized', *args)
    assert sim.ok(*args, headers={'x-acs-security-token': 'new', **lz4})[1] == good
    sim.control('token', {'token': None})
    sim.control('faults', ['any:error=503/ServerBusy:0'])
    for _ in range(5):
        sim.refused(503, 'ServerBusy', *args)
    sim.control('faults', {'clear': True})
    assert sim.ok(*args, headers=lz4)[1] == good
    sim.close()


def test_payloads(program):
    """Literal-only LZ4 blocks; the pull must hand out the very bytes of the file."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for k in range(3):
            raw = b''.join(field(1, group(10 * k + i)) for i in range(k + 1))
            n = len(raw) - 15
            block = (b'\xf0' + bytes([n]) if n >= 0 else bytes([len(raw) << 4])) + raw
            files.append((block, raw, k + 1))
            with open(os.path.join(folder, '%d.lz4' % k), 'wb') as f:
                f.write(block)
            with open(os.path.join(folder, '%d.json' % k), 'w') as f:
                json.dump({'rawsize': len(raw)}, f)
        sim = Sim(program, '--access-key', ID + ':' + SECRET, '--payloads', folder)
        for shard in (0, 1):
            at = cursor(sim, shard)
            for block, raw, groups in files:
                headers, body = sim.ok('GET', LS + '/shards/%d' % shard, 'type=log&count=1000&cursor=' +
                                       urllib.parse.quote(at, safe=''), headers={'Accept-Encoding': 'lz4'})
                assert (body, headers['x-log-count']) == (block, str(groups))
                at = headers['x-log-cursor']
            assert at == cursor(sim, shard, 'end')
        middle = base64.b64encode(b'%d' % (number(at) - 1)).decode()
        assert pull(sim, 1, middle)[1:] == (1, field(1, group(22)))
        sim.close()


def shape(value):
    """Types of a JSON value, with the names of its members."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(v) for v in value[:1]]
    return type(value).__name__


RECORDED_ID, RECORDED_SECRET = 'exampleAccessKeyId', 'exampleSecretKey/With+Chars=0123456789'
INJECTED = {66: 'pull:quota', 68: 'heartbeat:error=500/InternalServerError'}  # the recorder's own faults


def sign_v4(method, path, params, headers, secret):
    """Authorization of version 4 for headers that are complete but for it."""
    h = {k.lower(): v.strip() for k, v in headers.items()}
    signed = sorted(k for k in h if k in ('host', 'content-type') or k.startswith(('x-log-', 'x-acs-')))
    query = '&'.join(k + ('=' + urllib.parse.quote(v, safe='-_.~') if v else '') for k, v in sorted(params))
    text = '\n'.join([method, path, query, *(k + ':' + h[k] for k in signed), '', ';'.join(signed),
                      h['x-log-content-sha256']])
    scope = h['x-log-date'][:8] + '/cn-hangzhou/sls/aliyun_v4_request'
    key = b'aliyun_v4' + secret.encode()
    for word in scope.split('/'):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    text = '\n'.join(['SLS4-HMAC-SHA256', h['x-log-date'], scope, hashlib.sha256(text.encode()).hexdigest()])
    mac = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return 'SLS4-HMAC-SHA256 Credential=%s/%s,Signature=%s' % (RECORDED_ID, scope, mac)


class Replay:
    """Sends recorded requests again: as they are, original signature included, where they name no
    cursor; else with the cursor that stands at the same distance from our shard's first one, signed anew."""

    def __init__(self, sim, starts):
        self.sim, self.starts = sim, starts  # starts: shard -> its first recorded cursor
        self.ours, self.raw, self.anew = {}, 0, 0

    def translate(self, shard, cursor):
        if shard not in self.starts:
            return cursor
        try:
            distance = number(cursor) - self.starts[shard]
        except ValueError:
            return cursor
        if not 0 <= distance < 10 ** 6:
            return cursor
        if shard not in self.ours:
            self.ours = starts_of(self.sim)
        return base64.b64encode(b'%d' % (self.ours[shard] + distance)).decode()

    def send(self, request):
        headers, body = dict(request['headers']), bytes.fromhex(request['body_hex'])
        params = urllib.parse.parse_qsl(request['query'], keep_blank_values=True)
        shard = request['path'].rsplit('/', 1)[1]
        moved = [(k, self.translate(shard, v) if k in ('cursor', 'end_cursor') else v) for k, v in params]
        new_body = body
        if 'type=checkpoint' in request['query']:
            told = json.loads(body)
            told['checkpoint'] = self.translate(str(told['shard']), told['checkpoint'])
            new_body = json.dumps(told).encode()
        query = request['query']
        if moved == params and json_same(body, new_body):
            self.raw += 1
            new_body = body
        else:
            self.anew += 1
            query = urllib.parse.urlencode(moved)
            self.sign(request, headers, moved, new_body)
        headers['Content-Length'] = str(len(new_body))
        target = request['path'] + ('?' + query if query else '')
        http_ = self.sim.http
        http_.putrequest(request['method'], target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            http_.putheader(name, value)
        http_.endheaders(new_body or None)
        answer = http_.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def sign(self, request, headers, params, body):
        if headers['Authorization'].startswith('SLS4'):
            headers['x-log-content-sha256'] = hashlib.sha256(body).hexdigest()
            headers['Authorization'] = sign_v4(request['method'], request['path'], params, headers, RECORDED_SECRET)
            return
        if body:
            headers['Content-MD5'] = hashlib.md5(body).hexdigest().upper()
        signed = sorted((k.lower(), v) for k, v in headers.items()
                        if k.lower().startswith(('x-log-', 'x-acs-')) and k.lower() != 'x-log-date')
        text = '\n'.join([request['method'], headers.get('Content-MD5', ''), headers.get('Content-Type', ''),
                          headers['Date'], *(k + ':' + v for k, v in signed), request['path']])
        text += '?' + '&'.join(k + '=' + v for k, v in sorted(params)) if params else ''
        mac = hmac.new(RECORDED_SECRET.encode(), text.encode(), hashlib.sha1).digest()
        headers['Authorization'] = 'LOG %s:%s' % (RECORDED_ID, base64.b64encode(mac).decode())


def json_same(a, b):
    return a == b or (a[:1] == b'{' and json.loads(a) == json.loads(b))


def recorded(part):
    with open(os.path.join(VECTORS, 'consumer-session.jsonl'), encoding='utf-8') as f:
        return [r for r in map(json.loads, f) if r['part'] == part]


def first_cursors(records):
    """Where the recorded shards began: told in answers to from=begin."""
    return {r['request']['path'].rsplit('/', 1)[1]: number(json.loads(bytes.fromhex(r['response']['body_hex']))['cursor'])
            for r in reversed(records) if 'from=begin' in r['request']['query'] and r['response']['status'] == 200}


def compare(record, status, headers, body):
    request, want = record['request'], record['response']
    told = bytes.fromhex(want['body_hex'])
    where = 'line %d: %s %s?%s -> %d %r, not %d %r' % (record['seq'], request['method'], request['path'],
                                                       request['query'], status, body[:200], want['status'], told[:200])
    assert status == want['status'], where
    if status != 200:
        assert json.loads(body)['errorCode'] == json.loads(told)['errorCode'], where
    elif 'type=heartbeat' in request['query']:
        assert json.loads(body) == json.loads(told), where
    elif headers.get('content-type') == 'application/json':
        ours, theirs = json.loads(body), json.loads(told)
        assert shape(ours) == shape(theirs), where
        if request['path'].endswith('cg-demo'):  # checkpoints: the same owner, set or not set alike
            assert [(c['shard'], c['consumer'], bool(c['checkpoint'])) for c in ours] == \
                   [(c['shard'], c['consumer'], bool(c['checkpoint'])) for c in theirs], where
    elif told:
        theirs = {k.lower(): v for k, v in want['headers']}
        for name in ('x-log-count', 'x-log-bodyrawsize', 'x-log-compresstype'):
            assert headers.get(name) == theirs.get(name), (name, where)


def test_recorded_session(program):
    """An official consumer's session once more, on a clock that goes with it: the same owners at the same
    moments, the same errors, the same shapes. Most requests go as they were recorded, signature and all."""
    token = next(dict(r['request']['headers'])['x-acs-security-token'] for r in recorded('v4-sts'))
    for part, key in (('v1', ['--access-key', RECORDED_ID + ':' + RECORDED_SECRET]),
                      ('v4-sts', ['--sts-key', ':'.join((RECORDED_ID, RECORDED_SECRET, token))])):
        records = recorded(part)
        headers = dict(records[0]['request']['headers'])
        start = headers.get('x-log-date') if part != 'v1' else \
            email.utils.parsedate_to_datetime(headers['Date']).strftime('%Y%m%dT%H%M%SZ')
        sim = Sim(program, *key, '--project', 'unused-project', '--logstore', 'unused:1', '--clock', start)
        sim.control('faults', {'clear': True})
        replay, clock = Replay(sim, first_cursors(records)), 0
        for record in records:
            if record['t'] > clock:
                sim.control('clock', {'advance_s': round(record['t'] - clock, 3)})
                clock = record['t']
            if part == 'v1' and record['seq'] in INJECTED:
                sim.control('faults', [INJECTED[record['seq']]])
            compare(record, *replay.send(record['request']))
        print('   %s: %d requests as recorded, %d with our cursors' % (part, replay.raw, replay.anew))
        assert replay.raw > replay.anew / 2
        sim.close()


def starts_of(sim):
    """Our shards' first cursors, of the logstore that the session made."""
    for store in sim.control('stats')['logstores']:
        if store['logstore'] == 'app-log':
            return {str(s['shard']): number(s['end_cursor']) - s['groups'] for s in store['shards']}
    return {}


def test_exit_codes(program):
    def code(*args):
        return subprocess.run([program, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE).returncode
    sim = Sim(program)
    assert code('--listen', '127.0.0.1:%d' % sim.port) == 75
    sim.close()
    assert code('--version') == 0 and code('--help') == 0
    assert code() == 64 and code('--listen', 'nowhere') == 64 and code('--bogus') == 64
    assert code('--listen', '127.0.0.1:0', '--fault', 'pull:explode') == 64
    assert code('--listen', 'no-such-host.invalid:1') == 69
    assert code('--listen', '127.0.0.1:0', '--load', '/nonexistent') == 66


def main():
    if len(sys.argv) > 2:
        globals()['VECTORS'] = sys.argv[2]
    for test in (test_data, test_promised, test_groups, test_faults, test_payloads, test_recorded_session, test_exit_codes):
        test(os.path.abspath(sys.argv[1]))
        print('ok', test.__name__)


if __name__ == '__main__':
    main()
