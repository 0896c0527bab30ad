"""The scripts that run in Redis or Valkey, each of which is one step for all who share the server.

A script gets the clock, the index and the documents as its keys, which share one hash tag, and the
epoch of the data that its caller knows as its first argument; it answers nothing, and has changed
nothing, if the data are of another epoch. Times are whole microseconds.
"""

from __future__ import annotations


# The server's clock goes back when somebody sets it, or when a replica takes over whose clock is
# behind: then the state's clock goes on from the newest stamp, by an offset that is kept.
_CLOCK = """
local index = KEYS[2]
local clock = redis.call('HMGET', KEYS[1], 'last', 'offset', 'epoch', 'born')
local last, offset = tonumber(clock[1] or 0), tonumber(clock[2] or 0)
local epoch, born = clock[3], clock[4]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2]) + offset

local function text(number)
    return string.format('%.0f', number)
end

local function stamp(floor)
    if now < floor then
        offset = offset + floor - now
        now = floor
    end
    redis.call('HSET', KEYS[1], 'last', text(now), 'offset', text(offset))
end

if now < last then
    stamp(last)
end
"""

_PRELUDE = f"""{_CLOCK}
if epoch ~= ARGV[1] then
    return false
end

local function write(key, name, value, token, seconds, written)
    redis.call('HSET', key, 'value', value, 'token', token, 'written', text(written or now))
    if tonumber(seconds) > 0 then
        redis.call('EXPIRE', key, seconds)
    end
    redis.call('ZADD', index, 0, name)
end

local function remove(key, name)
    redis.call('DEL', key)
    redis.call('ZREM', index, name)
end
"""

#: ARGV: an epoch for data that have none, the least time; answers time, epoch, birth.
BEGIN = f"""{_CLOCK}
stamp(tonumber(ARGV[2]))
if not epoch then
    epoch, born = ARGV[1], text(now)
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'born', born)
end
return {{now, epoch, born}}
"""

#: KEYS[3]: the document; answers time, value, time of writing, token.
GET = f"""{_PRELUDE}
return {{now, unpack(redis.call('HMGET', KEYS[3], 'value', 'written', 'token'))}}
"""

#: KEYS[3]: the document, KEYS[4]: that of the fence, if there is one; ARGV: name, value, token,
#: seconds to keep it, prefix of the fence; answers time, whether it was written.
PUT = f"""{_PRELUDE}
if KEYS[4] then
    local other = redis.call('HGET', KEYS[4], 'value')
    if not other or string.sub(other, 1, #ARGV[6]) ~= ARGV[6] then
        return {{now, 0}}
    end
end
stamp(now)
write(KEYS[3], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
return {{now, 1}}
"""

#: KEYS[3]: the document; ARGV: name, value, token, seconds to keep it, the token that it has to
#: have, whether to delete it; answers time, whether it was changed, and value and token if not.
#: What has the new token was changed by an earlier try whose answer got lost.
SWAP = f"""{_PRELUDE}
local value, token = unpack(redis.call('HMGET', KEYS[3], 'value', 'token'))
if token ~= ARGV[4] then
    if (token or '') ~= ARGV[6] then
        return {{now, 0, value, token}}
    end
    stamp(now)
    if ARGV[7] == '1' then
        remove(KEYS[3], ARGV[2])
    else
        write(KEYS[3], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
    end
end
return {{now, 1}}
"""

#: KEYS[3]: the document; ARGV: name.
DELETE = f"""{_PRELUDE}
stamp(now)
remove(KEYS[3], ARGV[2])
return {{now}}
"""

#: KEYS[3]: the document; ARGV: as of PUT without a fence, then when it was written: nothing happens
#: if it was written later by somebody.
RESTORE = f"""{_PRELUDE}
local written = tonumber(ARGV[6])
if written > tonumber(redis.call('HGET', KEYS[3], 'written') or 0) then
    write(KEYS[3], ARGV[2], ARGV[3], ARGV[4], ARGV[5], written)
end
return {{now}}
"""

#: ARGV: from where to where in the index; answers time, names.
NAMES = f"""{_PRELUDE}
return {{now, redis.call('ZRANGEBYLEX', index, ARGV[2], ARGV[3])}}
"""

#: From KEYS[3] on: documents; ARGV: their names; answers time, value and time of writing of each.
#: The names of those that have expired leave the index.
DOCUMENTS = f"""{_PRELUDE}
local found = {{}}
for place = 3, #KEYS do
    local document = redis.call('HMGET', KEYS[place], 'value', 'written')
    if not document[1] then
        redis.call('ZREM', index, ARGV[place - 1])
    end
    found[#found + 1] = document
end
return {{now, found}}
"""
