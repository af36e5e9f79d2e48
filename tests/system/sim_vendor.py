#!/usr/bin/python3
"""sim_vendor: what the simulated service does by itself, and what it does when ordered.

Story: the service ages its logs, limits its shards, filters, compresses, hands out keys that expire,
splits and merges under its readers, and is killed and comes back with everything it knew.
Usage: sim_vendor.py PATH-OF-SLS-SIM"""
import json, os, signal, socket, subprocess, sys, tempfile, urllib.parse, zlib

import sim_smoke
from sim_smoke import LS, Sim, cursor, field, group, number, pull

KEY = ('--access-key', sim_smoke.ID + ':' + sim_smoke.SECRET)


def put(sim, body, method=None, raw=None, query='lb'):
    headers = {'Content-Type': 'application/x-protobuf', 'x-log-bodyrawsize': str(len(raw or body))}
    if method:
        headers['x-log-compresstype'] = method
    return sim.call('POST', LS + '/shards/' + query.split('?')[0], query.partition('?')[2], body, headers)


def code(answer):
    return answer[0], json.loads(answer[2])['errorCode'] if answer[2] else None


def audit(level):
    pair = field(1, b'level') + field(2, level)
    return field(1, b'\x08' + sim_smoke.varint(1735787045) + field(2, pair)) + field(3, b't')


def test_retention(program):
    sim = Sim(program, *KEY, '--logstore', 'audit:1', '--retention', '100')
    put(sim, group(1))
    begin = cursor(sim, 0)
    sim.control('clock', {'advance_s': 60})
    put(sim, group(2))
    assert pull(sim, 0, begin)[1] == 2
    sim.control('clock', {'advance_s': 60})
    query = 'type=log&count=1&cursor=' + urllib.parse.quote(begin)
    # Two minutes have passed for the server only: our own clock stands, within the tolerated skew.
    sim.refused(400, 'InvalidCursor', 'GET', LS + '/shards/0', query)
    sim.refused(400, 'InvalidCursor', 'GET', LS + '/shards/0', 'type=cursor_time&cursor=' + urllib.parse.quote(begin))
    assert number(cursor(sim, 0)) == number(begin) + 1
    assert pull(sim, 0, cursor(sim, 0))[2] == field(1, group(2))
    sim.close()


def test_quota(program):
    sim = Sim(program, *KEY, '--logstore', 'audit:2', '--quota', 'reads=3,writes=2', '--clock', '20250102T030405Z')
    date = 'Thu, 02 Jan 2025 03:04:05 GMT'
    call = sim.call
    sim.call = lambda *a, **k: call(*a, **{'date': date, **k})
    writes = [code(put(sim, group(n), query='route?key=' + '00' * 16)) for n in range(4)]
    assert writes == [(200, None)] * 2 + [(403, 'ShardWriteQuotaExceed')] * 2, writes
    begin = [cursor(sim, n) for n in range(2)]
    for _ in range(3):
        pull(sim, 0, begin[0])
    sim.refused(403, 'ShardReadQuotaExceed', 'GET', LS + '/shards/0', 'type=log&count=1&cursor=' + urllib.parse.quote(begin[0]))
    pull(sim, 1, begin[1])  # another shard has a quota of its own
    sim.control('clock', {'advance_s': 1})
    pull(sim, 0, begin[0])
    sim.control('quota', {'reads': 0})
    for _ in range(10):
        pull(sim, 0, begin[0])
    sim.close()


def test_query(program):
    """The cursor moves over what the filter drops; only a cursor that stays is the end."""
    sim = Sim(program, *KEY, '--logstore', 'audit:1')
    for level in (b'INFO', b'INFO', b'ERROR', b'INFO'):
        put(sim, audit(level))

    def run(query, at, count=2):
        headers, body = sim.ok('GET', LS + '/shards/0', urllib.parse.urlencode(
            {'type': 'log', 'cursor': at, 'count': count, 'query': query, 'pullMode': 'scan_on_stream'}),
            headers={'Accept-Encoding': ''})
        return headers, body
    begin, end = cursor(sim, 0), cursor(sim, 0, 'end')
    headers, body = run("* | where level = 'ERROR'", begin)
    assert (headers['x-log-count'], body, headers['x-log-rawdatacount']) == ('0', b'', '2'), headers
    assert number(headers['x-log-cursor']) == number(begin) + 2
    headers, body = run("* | where level = 'ERROR'", headers['x-log-cursor'])
    assert (headers['x-log-count'], headers['x-log-cursor'], body) == ('1', end, field(1, audit(b'ERROR')))
    assert run("* | where level = 'ERROR'", end)[0]['x-log-cursor'] == end
    for query, groups in (("*", 4), ("* | where level != 'INFO'", 1), ("* | where level like 'I%'", 3),
                          ("* | where level in ('ERROR', 'WARN')", 1), ("* | where nothing != 'x'", 0),
                          ("* | where nothing is null and not (level = 'ERROR')", 3),
                          ("* | where __topic__ = 't' | where level not like '%O'", 1),
                          ("* | where level = 'it''s' or \"level\" = 'ERROR'", 1)):
        assert run(query, begin, 100)[0]['x-log-count'] == str(groups), query
    for bad in ("level = 'x'", '* | where', "* | where level = x", '* | stats count(*)', "* | where (level = 'a'",
                "* | where level = 'a", '* | where ' + '(' * 300, '* | where ' + 'not ' * 300 + "a = 'b'",
                "* | where a = 'b'" + " or a = 'b'" * 5000, "* | where a in ('b'" + ", 'b'" * 9000 + ')'):
        query = urllib.parse.urlencode({'type': 'log', 'cursor': begin, 'count': 1, 'query': bad, 'pullMode': 'scan_on_stream'})
        sim.refused(400, 'ParameterInvalid', 'GET', LS + '/shards/0', query)
    sim.close()


def test_keys(program):
    sim = Sim(program, '--sts-key', '%s:%s:tok@100' % (sim_smoke.ID, sim_smoke.SECRET))
    token = {'x-acs-security-token': 'tok'}
    sim.ok('GET', LS + '/shards', headers=token)
    for headers in ({}, {'x-acs-security-token': 'other'}):
        sim.refused(401, 'Unauthorized', 'GET', LS + '/shards', headers=headers)
    sim.control('clock', {'advance_s': 101})
    status, _, body = sim.call('GET', LS + '/shards', headers=token)
    assert status == 401 and b'expired' in body, body
    sim.control('keys', {'id': sim_smoke.ID, 'secret': sim_smoke.SECRET, 'token': 'two', 'expires_in_s': 100})
    sim.ok('GET', LS + '/shards', headers={'x-acs-security-token': 'two'})
    sim.control('keys', {'id': sim_smoke.ID, 'remove': True})
    sim.refused(401, 'Unauthorized', 'GET', LS + '/shards', headers=token)
    sim.close()


def test_compression(program):
    sim = Sim(program, *KEY, '--logstore', 'audit:1')
    raw = group(7)
    assert put(sim, zlib.compress(raw), 'deflate', raw)[0] == 200
    assert put(sim, raw)[0] == 200
    assert code(put(sim, zlib.compress(raw)[:-3], 'deflate', raw)) == (400, 'PostBodyUncompressError')
    assert code(put(sim, b'\x28\xb5\x2f\xfd\x00', 'zstd', raw)) == (400, 'PostBodyUncompressError')
    headers, body = sim.ok('GET', LS + '/shards/0', 'type=logs&count=9&cursor=' + urllib.parse.quote(cursor(sim, 0)),
                           headers={'Accept-Encoding': 'gzip, deflate'})
    assert headers['x-log-compresstype'] == 'deflate' and 'content-encoding' not in headers
    assert zlib.decompress(body) == 2 * field(1, raw)
    headers, body = sim.ok('GET', LS + '/shards/0', 'type=logs&count=9&cursor=' + urllib.parse.quote(cursor(sim, 0)),
                           headers={'Accept-Encoding': 'zstd'})
    assert headers['x-log-compresstype'] == 'zstd' and body[:4] == b'\x28\xb5\x2f\xfd'
    sim.close()


def test_orders(program):
    """Faults of the service itself, at the call that they were ordered for."""
    sim = Sim(program, *KEY, '--logstore', 'audit:2', '--generate', '40')
    base = LS + '/consumergroups'
    sim.ok('POST', base, '', b'{"consumerGroup":"cg","timeout":60,"order":true}')
    query = 'type=log&count=10&cursor=' + urllib.parse.quote(cursor(sim, 1))
    sim.control('faults', ['pull:split', 'pull/0:error=500/InternalServerError', 'heartbeat:merge=2'])
    sim.ok('GET', LS + '/shards/1', query)
    shards = {s['shardID']: s for s in sim.ok('GET', LS + '/shards')[1]}
    assert shards[1]['status'] == 'readonly' and shards[2]['inclusiveBeginKey'] == '80' + 30 * '0', shards
    assert shards[2]['exclusiveEndKey'] == shards[3]['inclusiveBeginKey']
    sim.ok('GET', LS + '/shards/1', query)
    sim.refused(500, 'InternalServerError', 'GET', LS + '/shards/0', query)
    sim.beat('a', [])
    assert sorted(s['shardID'] for s in sim.ok('GET', LS + '/shards')[1]) == [0, 1, 2, 3, 4]
    assert sim.beat('a', [0, 1]) == [0, 1], 'the merged shard waits for its grandparent'
    for kind in ('no-cursor', 'empty-cursor'):
        sim.control('faults', ['pull:' + kind])
        headers, _ = sim.ok('GET', LS + '/shards/1', query)
        assert headers.get('x-log-cursor', None) == (None if kind == 'no-cursor' else ''), headers
    sim.control('faults', ['pull:expired-token', 'heartbeat:rebalance'])
    sim.refused(401, 'SecurityTokenExpired', 'GET', LS + '/shards/1', query)
    sim.control('faults', {'clear': True})
    sim.beat('b', [])
    assert sim.beat('a', [0, 1]) == [0]
    sim.beat('a', [0])
    assert sim.beat('b', []) == [1]
    sim.control('rebalance', {'logstore': 'audit', 'group': 'cg'})
    assert sim.beat('a', [0]) == [] and sim.beat('b', [1]) == []
    assert sim.beat('a', []) == [] and sim.beat('b', []) == [0] and sim.beat('a', []) == [1]
    sim.control('faults', ['pull:hang'])
    sim.http.timeout = 1
    sim.connect()
    sim.http.timeout = 1
    try:
        sim.call('GET', LS + '/shards/1', query)
        raise SystemExit('a hanging answer came')
    except socket.timeout:
        sim.connect()
    sim.close()


def test_killed_and_back(program):
    """Real services do not forget: logs, shards, checkpoints, owners are there after kill -9."""
    with tempfile.TemporaryDirectory() as folder:
        state = os.path.join(folder, 'state')
        args = [*KEY, '--logstore', 'audit:2', '--generate', '400', '--state', state]
        sim = Sim(program, *args)
        base = LS + '/consumergroups'
        sim.ok('POST', base, '', b'{"consumerGroup":"cg","timeout":60,"order":true}')
        sim.ok('POST', base, '', b'{"consumerGroup":"gone","timeout":60,"order":true}')
        sim.ok('DELETE', base + '/gone')
        sim.beat('a', []), sim.beat('b', []), sim.beat('a', [0, 1]), sim.beat('a', [0]), sim.beat('b', [])
        at = cursor(sim, 1, 'end')
        assert sim.checkpoint('b', 1, at)[0] == 200
        sim.ok('POST', LS + '/shards/1', 'action=split&key=c0' + 30 * '0')
        sim.ok('POST', '/logstores', '', b'{"logstoreName":"other","shardCount":3,"ttl":7}')
        put(sim, group(5))
        sim.control('trim', {'logstore': 'audit', 'shard': 0, 'keep': 2})

        def picture():
            shards = sorted(sim.ok('GET', LS + '/shards')[1], key=lambda s: s['shardID'])
            return (shards, sim.ok('GET', '/logstores')[1], sim.ok('GET', base)[1], sim.ok('GET', base + '/cg')[1],
                    [(cursor(sim, s['shardID']), cursor(sim, s['shardID'], 'end'),
                      pull(sim, s['shardID'], cursor(sim, s['shardID']))[2]) for s in shards])
        before = picture()
        for torn in (b'', b'\0\0\0\x20\0\0\0\0{"op"'):
            sim.proc.send_signal(signal.SIGKILL)
            sim.proc.wait()
            with open(state, 'ab') as f:
                f.write(torn)
            sim = Sim(program, *args)
            assert picture() == before
        assert sim.beat('b', [1]) == [], 'shard 1 is over, and b is still known'
        assert sim.beat('a', [0]) == [0, 3] or sim.beat('b', []) == [3], 'its children follow'
        assert sim.control('stats')['generated_logs'] == 400
        sim.close()
        with open(state, 'ab') as f:
            f.write(b'\0\0\0\x02\0\0\0\0{}')
        done = subprocess.run([program, '--listen', '127.0.0.1:0', *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 78 and b'damaged' in done.stderr, done


def test_transcript(program):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'transcript')
        sim = Sim(program, *KEY, '--sts-key', 'other:hush-hush:hidden-token', '--transcript', path,
                  '--transcript-calls', 'shards,put')
        sim.ok('GET', LS + '/shards')
        sim.call('GET', LS + '/shards', headers={'x-acs-security-token': 'hidden-token'})
        cursor(sim, 0)
        put(sim, group(1))
        sim.close()
        with open(path) as f:
            text = f.read()
        lines = [json.loads(line) for line in text.splitlines()]
        assert [(l['request']['path'], l['response']['status']) for l in lines] == [
            (LS + '/shards', 200), (LS + '/shards', 401), (LS + '/shards/lb', 200)], text
        assert lines[2]['request']['body_hex'] == group(1).hex() and lines[2]['at'] > 1e9
        for secret in ('hidden-token', 'hush', sim_smoke.SECRET, 'LOG ' + sim_smoke.ID):
            assert secret not in text, secret


def main():
    for test in (test_retention, test_quota, test_query, test_keys, test_compression, test_orders,
                 test_killed_and_back, test_transcript):
        test(os.path.abspath(sys.argv[1]))
        print('ok', test.__name__)


if __name__ == '__main__':
    main()
