-- One step of limits that replicas share: news of one replica, and what its calls ask for.
--
-- A scope's window is a hash of slices (r and t with the slice's number: requests, tokens), their
-- sums R and T, the last slice that has expired (o) and the last in which something was used (l).
-- Beside it stands what each replica has put into it. So a replica can say again, at any time, what
-- it has used in all, and the sums are put right by the difference: nothing is counted twice, and
-- nothing is lost when this server forgets. The same is done for money, by day and by month.
-- Calls in flight are a number for each replica; only those of replicas with a lease count.
--
-- KEYS: the replicas' leases, this replica, then the scopes' names.
-- ARGV: the replica's name; msgpack of {epoch, lease_ms, slice_us, slices, limits, puts, asks}.
-- A limit below 0 is none. Answers with msgpack of {now_us, replicas, slice, results}; without
-- replicas, this step is older than one that was taken already, and nothing was done.

local FENCE_MS = 3600000    -- For so long a step may lie in the buffer of a dead connection.
local FLIGHT_MS = 7200000   -- Longer than any call.
local DAY_MS = 86400000

local replica = ARGV[1]
local q = cmsgpack.unpack(ARGV[2])
local epoch, lease_ms, slice_us, slices = q[1], q[2], q[3], q[4]
local limits, puts, asks = q[5], q[6], q[7]

local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = math.floor(now_us / 1000)
local index = math.floor(now_us / slice_us)
local gone = index - slices - 1
local day = math.floor(now_ms / DAY_MS)

local newest = tonumber(redis.call('HGET', KEYS[2], 'epoch') or 0)
if epoch < newest then
  return cmsgpack.pack({now_us, 0, index, {}})
end
redis.call('HSET', KEYS[2], 'epoch', epoch)
redis.call('PEXPIRE', KEYS[2], FENCE_MS)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
redis.call('ZADD', KEYS[1], now_ms + lease_ms, replica)
redis.call('PEXPIRE', KEYS[1], 2 * lease_ms)
local living = redis.call('ZRANGE', KEYS[1], 0, -1)

local function month_of(d)  -- counted from the year 0; the year of the sums begins in March
  local z = d + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor(
    (doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local m = mp < 10 and mp + 3 or mp - 9
  return (yoe + era * 400 + (m <= 2 and 1 or 0)) * 12 + m - 1
end
local month = month_of(day)

local function expire(c)
  if gone - c.o > slices then
    redis.call('DEL', c.window, c.mine)
    c.R, c.T = 0, 0
  elseif gone > c.o then
    local fields = {}
    for i = c.o + 1, gone do
      fields[#fields + 1] = 'r' .. i
      fields[#fields + 1] = 't' .. i
    end
    local was = redis.call('HMGET', c.window, unpack(fields))
    for n = 1, #fields, 2 do
      c.R = c.R - (was[n] or 0)
      c.T = c.T - (was[n + 1] or 0)
    end
    redis.call('HDEL', c.window, unpack(fields))
    for _, one in ipairs(living) do
      redis.call('HDEL', c.base .. ':w:' .. one, unpack(fields))
    end
  end
end

local cards = {}
local function card(i)
  local c = cards[i]
  if c then return c end
  local base, most = KEYS[i + 2], limits[i]
  c = {
    base = base, most = most, window = base .. ':w', mine = base .. ':w:' .. replica,
    flight = base .. ':f', r_new = 0, t_new = 0, n = 0, h = 0, n_rest = 0, h_rest = 0,
    has_budget = most[4] >= 0 or most[5] >= 0,
  }
  c.has_flight = most[3] >= 0 or c.has_budget
  local w = redis.call('HMGET', c.window, 'R', 'T', 'o', 'l')
  c.R, c.T = tonumber(w[1] or 0), tonumber(w[2] or 0)
  c.o, c.l = tonumber(w[3] or gone), tonumber(w[4] or -1)
  expire(c)
  if c.has_flight then
    for _, one in ipairs(living) do
      local f = redis.call('HMGET', c.flight, 'n:' .. one, 'h:' .. one)
      if one == replica then
        c.n, c.h = tonumber(f[1] or 0), tonumber(f[2] or 0)
      else
        c.n_rest, c.h_rest = c.n_rest + (f[1] or 0), c.h_rest + (f[2] or 0)
      end
    end
  end
  cards[i] = c
  return c
end

local function put_usd(key, ttl_ms, usd, seed)  -- seed: what the ledger knew; the oldest is right
  local was = redis.call('HMGET', key, 'seed', 'u:' .. replica)
  local more = usd - (was[2] or 0)
  redis.call('HSET', key, 'u:' .. replica, usd)
  if seed >= 0 and (not was[1] or seed < tonumber(was[1])) then
    more = more + seed - (was[1] or 0)
    redis.call('HSET', key, 'seed', seed)
  end
  redis.call('HINCRBYFLOAT', key, 'total', more)
  redis.call('PEXPIRE', key, ttl_ms)
end

local function put_cells(c, is_full, cells)
  local old = {}
  if is_full then
    local all = redis.call('HGETALL', c.mine)
    for n = 1, #all, 2 do old[all[n]] = tonumber(all[n + 1]) end
    redis.call('DEL', c.mine)
  end
  for _, cell in ipairs(cells) do
    local i = cell[1]
    if i > gone then
      for n, kind in ipairs({'r', 't'}) do
        local field, now = kind .. i, cell[n + 1]
        local was = old[field] or (not is_full and redis.call('HGET', c.mine, field)) or 0
        local more = now - was
        old[field] = nil
        if more ~= 0 then redis.call('HINCRBY', c.window, field, more) end
        redis.call('HSET', c.mine, field, now)
        if kind == 'r' then c.R = c.R + more else c.T = c.T + more end
      end
      if i > c.l then c.l = i end
    end
  end
  for field, was in pairs(old) do
    if tonumber(string.sub(field, 2)) > gone then
      redis.call('HINCRBY', c.window, field, -was)
      if string.sub(field, 1, 1) == 'r' then c.R = c.R - was else c.T = c.T - was end
    end
  end
end

for _, put in ipairs(puts) do
  -- scope, in flight, held; day, month, dollars of each, seeds of each; is full, cells
  local c = card(put[1])
  c.n, c.h = put[2], put[3]
  if c.has_budget then
    put_usd(c.base .. ':d' .. put[4], 2 * DAY_MS, put[6], put[8])
    put_usd(c.base .. ':m' .. put[5], 33 * DAY_MS, put[7], put[9])
  end
  put_cells(c, put[10], put[11])
end

local function wait_for(c, kind, left, enough)  -- the slice whose expiry leaves so much
  c.walked = c.walked or {}
  local cells = c.walked[kind]
  if not cells then
    local fields = {}
    for i = gone + 1, index do fields[#fields + 1] = kind .. i end
    cells = redis.call('HMGET', c.window, unpack(fields))
    c.walked[kind] = cells
  end
  for n = 1, #cells do
    left = left - (cells[n] or 0)
    if left <= enough then return gone + n end
  end
  return index
end

local function look_at_money(c)
  if not c.day_usd then
    c.day_usd = tonumber(redis.call('HGET', c.base .. ':d' .. day, 'total') or 0)
    c.month_usd = tonumber(redis.call('HGET', c.base .. ':m' .. month, 'total') or 0)
  end
end

local function shortages(c, i, tokens, usd, short)
  local most = c.most
  local function add(kind, used, at) short[#short + 1] = {i, kind, used, at} end
  if most[1] >= 0 and c.R + 1 > most[1] then
    add(0, c.R, wait_for(c, 'r', c.R, most[1] - 1))
  end
  if most[2] >= 0 and c.T + tokens > most[2] then
    add(1, c.T, wait_for(c, 't', c.T, most[2] - tokens))
  end
  if most[3] >= 0 and c.n + c.n_rest + 1 > most[3] then add(2, c.n + c.n_rest, 0) end
  if c.has_budget then
    look_at_money(c)
    local held = c.h + c.h_rest
    for n, spent in ipairs({c.day_usd, c.month_usd}) do
      local used, limit = spent + held, most[n + 3]
      if limit >= 0 and (used >= limit or used + usd > limit) then add(n + 2, used, 0) end
    end
  end
end

local results = {}
for _, ask in ipairs(asks) do
  local tokens, usd, short, rows = ask[1], ask[2], {}, {}
  for _, i in ipairs(ask[3]) do shortages(card(i), i, tokens, usd, short) end
  for n, i in ipairs(ask[3]) do
    local c = card(i)
    if #short == 0 then
      c.R, c.T, c.n, c.h = c.R + 1, c.T + tokens, c.n + 1, c.h + usd
      c.r_new, c.t_new, c.l = c.r_new + 1, c.t_new + tokens, index
    end
    local held = c.h + c.h_rest
    rows[n] = {c.R, c.T, c.n + c.n_rest, (c.day_usd or 0) + held, (c.month_usd or 0) + held, c.l}
  end
  results[#results + 1] = {short, rows}
end

local window_ms = math.ceil(slice_us * slices / 1000)
for _, c in pairs(cards) do
  redis.call('HSET', c.window, 'R', c.R, 'T', c.T, 'o', gone, 'l', c.l)
  if c.r_new > 0 then
    redis.call('HINCRBY', c.window, 'r' .. index, c.r_new)
    redis.call('HINCRBY', c.window, 't' .. index, c.t_new)
    redis.call('HINCRBY', c.mine, 'r' .. index, c.r_new)
    redis.call('HINCRBY', c.mine, 't' .. index, c.t_new)
  end
  redis.call('PEXPIRE', c.window, 2 * window_ms)
  redis.call('PEXPIRE', c.mine, 2 * window_ms)
  if c.has_flight then
    redis.call('HSET', c.flight, 'n:' .. replica, c.n, 'h:' .. replica, c.h)
    redis.call('PEXPIRE', c.flight, FLIGHT_MS)
  end
end
return cmsgpack.pack({now_us, #living, index, results})
