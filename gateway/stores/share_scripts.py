"""What Redis does with shares of limits, each script as a whole: see `redis_shares`. The clock is Redis' own."""

RENEW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local seen, epoch = tonumber(redis.call('HGET', KEYS[2], 'seen')), tonumber(redis.call('HGET', KEYS[2], 'epoch'))
if not seen or now - seen > tonumber(ARGV[3]) or now < seen - 1000 then
  epoch = now + ARGV[4]
  redis.call('HSET', KEYS[2], 'epoch', epoch)
end
redis.call('HSET', KEYS[2], 'seen', now)
local ends = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or nil)
if not ends or ends <= now then redis.call('HSET', KEYS[2], 'came', now) end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 600000)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[3], now + 1000, '+inf')
local wanted = redis.call('ZRANGE', KEYS[3], 0, 999)
return {epoch, math.max(0, epoch - now), redis.call('ZCOUNT', KEYS[1], now + 1, '+inf'), wanted}
"""
"""KEYS: gateways (set by the end of their leases), clock (hash), wanted (set by time). ARGV: gateway; in ms its lease,
the longest lease, the grace. Returns the epoch, ms until it grants, how many gateways live, and the holders of whom
somebody lacks room.

An epoch begins with a Redis that remembers nothing, and where its clock has jumped: until its grace is over gateways
only say again what they have."""

SHARE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local grace = (tonumber(redis.call('HGET', KEYS[3], 'epoch')) or (now + 1)) > now
local function three(text)
  local a, b, c = string.match(text or '0 0 0', '^(%d+) (%d+) (%d+)')
  return {tonumber(a), tonumber(b), tonumber(c)}
end
local sums = redis.call('HGET', KEYS[1], '!') or nil
local at, held = tonumber(string.match(sums or '', '(%d+)$') or '0'), {0, 0, 0}
local ended = redis.call('ZCOUNT', KEYS[2], '-inf', now) > 0
local came = tonumber(redis.call('HGET', KEYS[3], 'came') or '0')
if at <= came or now < at or now - at > 60000 or (ended and now - at >= 1000) then
  at = now
  local rows = redis.call('HGETALL', KEYS[1])
  for i = 1, #rows, 2 do
    if rows[i] ~= ARGV[1] and rows[i] ~= '!' then
      local ends, has, part = tonumber(redis.call('ZSCORE', KEYS[2], rows[i]) or nil), three(rows[i + 1]), 1
      if not ends or ends < now - 300000 then redis.call('HDEL', KEYS[1], rows[i])
      else
        if ends <= now then part, has[3] = math.exp((ends - now) / 60000), 0 end
        held = {held[1] + math.ceil(has[1] * part), held[2] + math.ceil(has[2] * part), held[3] + has[3]}
      end
    end
  end
else
  local all, mine = three(sums), three(redis.call('HGET', KEYS[1], ARGV[1]) or nil)
  for kind = 1, 3 do held[kind] = all[kind] - mine[kind] end
end
local living = math.max(1, redis.call('ZCOUNT', KEYS[2], now + 1, '+inf'))
local told, kept, all, short = {}, {}, {}, false
for kind = 1, 3 do
  local first = 3 + (kind - 1) * 4
  local limit, has = tonumber(ARGV[first]), tonumber(ARGV[first + 1])
  local need, ahead = tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3])
  local free = limit - held[kind]
  local cap = math.min(has, math.max(free, 0))
  free = free - cap
  local more = 0
  if not grace and free > 0 then
    more = math.min(free, math.max(need, math.min(need + ahead, math.floor(free / (2 * living)))))
  end
  if need > more and limit > 0 then short = true end
  kept[kind] = string.format('%.0f', cap + more)
  all[kind] = string.format('%.0f', held[kind] + cap + more)
  told[#told + 1], told[#told + 2] = cap + more, free - more
end
if short and not grace then redis.call('ZADD', KEYS[4], now, ARGV[2]) end
if table.concat(all) == '000' then redis.call('DEL', KEYS[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], table.concat(kept, ' '), '!', table.concat(all, ' ') .. ' ' .. at)
  if table.concat(kept) == '000' then redis.call('HDEL', KEYS[1], ARGV[1]) end
  redis.call('PEXPIRE', KEYS[1], 600000)
end
return told
"""
"""KEYS: shares of a holder (hash by gateway), gateways, clock, wanted. ARGV: gateway, holder; of requests, tokens and
slots each: limit (0: none), what the gateway has, what it needs now, what it would like ahead of that. Returns of each
what it has from now on, and what is nobody's.

The field `!` has the sums over all gateways, and when they were last added up anew: when a gateway came, or came back,
and once a second while the lease of one has ended, since only that changes them otherwise than by this script. A sum
that is late is too large, never too small.

What a dead gateway had comes back as its bucket would have been refilled, by e to the power of -t / 60 s: it may have
used all of it in its last moment. Its slots come back with the end of its lease."""
