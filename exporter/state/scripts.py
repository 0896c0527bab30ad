"""The Lua scripts that run in Redis or Valkey, each of them atomically.

The keys of a script are the clock, the index and the documents. Its first argument is the epoch of
the data that its caller knows. If the data are of another epoch, for example after a flush, the
script changes nothing and returns nil. Times are whole microseconds.
"""

from __future__ import annotations


# The server's clock goes back if it is set, or if a replica with a slower clock takes over. Then
# the state's clock continues from the newest stamp, by means of a saved offset.
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

#: ARGV: an epoch for new data, the lowest time; returns time, epoch, time of the data's creation.
BEGIN = f"""{_CLOCK}
stamp(tonumber(ARGV[2]))
if not epoch then
    epoch, born = ARGV[1], text(now)
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'born', born)
end
return {{now, epoch, born}}
"""

#: KEYS[3]: the document; returns time, value, time of writing, token.
GET = f"""{_PRELUDE}
return {{now, unpack(redis.call('HMGET', KEYS[3], 'value', 'written', 'token'))}}
"""

#: KEYS[3]: the document, KEYS[4]: the fence's document, if there is a fence; ARGV: name, value,
#: token, seconds to keep it, prefix of the fence; returns time, whether the document was written.
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

#: KEYS[3]: the document; ARGV: name, value, token, seconds to keep it, the expected old token,
#: whether to delete it; returns time, whether the document was changed, and if not its value and
#: token. If the document has the new token already, an earlier try changed it, whose answer was
#: lost.
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

#: KEYS[3]: the document; ARGV: as for PUT without a fence, then the time of writing. The script
#: changes nothing if the document in the store is newer.
RESTORE = f"""{_PRELUDE}
local written = tonumber(ARGV[6])
if written > tonumber(redis.call('HGET', KEYS[3], 'written') or 0) then
    write(KEYS[3], ARGV[2], ARGV[3], ARGV[4], ARGV[5], written)
end
return {{now}}
"""

#: ARGV: the first and the last name in the index; returns time, names.
NAMES = f"""{_PRELUDE}
return {{now, redis.call('ZRANGEBYLEX', index, ARGV[2], ARGV[3])}}
"""

#: From KEYS[3] on: documents; ARGV: their names; returns time, value and time of writing of each.
#: The script deletes the names of expired documents from the index.
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
