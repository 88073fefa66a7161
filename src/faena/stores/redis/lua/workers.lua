-- Return the workers whose beat has not expired: when it came, and their descriptions.
local all, parts = redis.call('HGETALL', WORKERS), {}
for position = 1, #all, 2 do
    local expires, at, info = cmsgpack.unpack(all[position + 1])
    if expires > now then
        parts[#parts + 1] = '\146' .. cmsgpack.pack(at, info)
    end
end
return array(#parts) .. table.concat(parts)
