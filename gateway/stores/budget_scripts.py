"""What Redis does with budgets, each script as a whole or not at all: see `redis_budgets`.

Amounts are added by HINCRBY, in whole numbers of 64 bits: Lua's own would round them, but whether one is above zero
they tell exactly.
"""

RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local unknown, short, refused = {}, {}, false
for i = 1, #KEYS, 2 do
  if redis.call('HEXISTS', KEYS[i], 't') == 0 then unknown[#unknown + 1] = (i - 1) / 2 end
end
if #unknown > 0 then return {'unknown', unknown} end
for i = 1, #KEYS, 2 do
  local a = 3 + (i - 1) / 2 * 5
  if redis.call('ZSCORE', KEYS[i + 1], '!' .. ARGV[1] .. '|' .. ARGV[a] .. '|0') then return {'refused', {}} end
end
for i = 1, #KEYS, 2 do
  local a = 3 + (i - 1) / 2 * 5
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[i + 1], '-inf', now)) do
    local amount = '-' .. string.match(member, '|(%d+)$')
    redis.call('ZREM', KEYS[i + 1], member)
    if amount ~= '-0' then
      redis.call('HINCRBY', KEYS[i], 'r', amount)
      redis.call('HINCRBY', KEYS[i], 'u', amount)
    end
  end
  redis.call('HINCRBY', KEYS[i], 'u', ARGV[a])
  local over = redis.call('HINCRBY', KEYS[i], 'u', ARGV[a + 3])
  redis.call('HINCRBY', KEYS[i], 'u', ARGV[a + 2])
  if over > 0 then
    local row = redis.call('HMGET', KEYS[i], 's', 'c', 'r')
    short[#short + 1] = {(i - 1) / 2, row[1], row[2], row[3]}
    if ARGV[a + 4] == '1' then refused = true end
  end
end
for i = 1, #KEYS, 2 do
  local a = 3 + (i - 1) / 2 * 5
  if refused then
    redis.call('HINCRBY', KEYS[i], 'u', ARGV[a + 1])
  else
    redis.call('HINCRBY', KEYS[i], 'r', ARGV[a])
    redis.call('ZADD', KEYS[i + 1], now + ARGV[2], ARGV[1] .. '|' .. ARGV[a])
    redis.call('PEXPIRE', KEYS[i + 1], ARGV[2] * 2 + 60000)
  end
end
return {refused and 'refused' or 'taken', short}
"""
"""KEYS: hash and set of each counter. ARGV: lease, ms; of each counter: amount, -amount, limit, -limit, hard.

What was given up before it came is refused: a cut network may deliver it on an old connection, after its release on a
new one, and nobody would ever release it again."""

SETTLE = """
local number = tonumber(redis.call('GET', KEYS[1]) or '0')
if number >= tonumber(ARGV[1]) then return {} end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
local told, time = {}, redis.call('TIME')
for i = 2, #KEYS, 2 do
  local a = 3 + (i - 2) / 2 * 3
  local there = redis.call('ZREM', KEYS[i + 1], ARGV[a])
  if there == 1 and ARGV[a + 1] ~= '-0' then
    redis.call('HINCRBY', KEYS[i], 'r', ARGV[a + 1])
    redis.call('HINCRBY', KEYS[i], 'u', ARGV[a + 1])
  end
  if there == 0 and ARGV[a + 2] == '0' then
    redis.call('ZADD', KEYS[i + 1], time[1] * 1000 + 600000, '!' .. ARGV[a] .. '|0')
    if redis.call('PTTL', KEYS[i + 1]) < 660000 then redis.call('PEXPIRE', KEYS[i + 1], 660000) end
  end
  if redis.call('HEXISTS', KEYS[i], 't') == 1 then
    redis.call('HINCRBY', KEYS[i], 's', ARGV[a + 2])
    redis.call('HINCRBY', KEYS[i], 'u', ARGV[a + 2])
  end
  told[#told + 1] = redis.call('HMGET', KEYS[i], 's', 'c')
end
return told
"""
"""KEYS: the batch's name; hash and set of each charge. ARGV: number, s; of each charge: lease|held, -held, cost.

A lease that costs nothing and is not there was given up without an answer: for ten minutes it is known as that (`!` and
its name, with an amount of 0, so that its end changes nothing)."""

LOAD = """
if redis.call('HEXISTS', KEYS[1], 't') == 1 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 's', ARGV[1], 'c', '0', 'r', '0', 'u', ARGV[1], 't', ARGV[2])
if ARGV[3] ~= '' then redis.call('EXPIREAT', KEYS[1], ARGV[3]) end
return 1
"""
CORRECT = """
local row = redis.call('HMGET', KEYS[1], 's', 'c')
if not row[1] then return {} end
local before = row[2]
if string.sub(before, 1, 1) == '-' then before = string.sub(before, 2)
elseif before ~= '0' then before = '-' .. before end
redis.call('HINCRBY', KEYS[1], 'u', before)
redis.call('HINCRBY', KEYS[1], 'u', ARGV[1])
redis.call('HSET', KEYS[1], 'c', ARGV[1])
return row
"""
