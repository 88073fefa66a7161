-- Make held leases last. ARGV: lease, (id, token)s. Answers as `of_held`.
local until_then = now + tonumber(ARGV[4])
local answers = of_held(cmsgpack.unpack(ARGV[5]), function(n, head)
    head[LEASE_UNTIL] = until_then
    touch(n)
    gather(removals, LEASES, n)  -- first, so that a full Redis does not end leases
    gather(adds, LEASES, score(until_then), n)
end)
flush()
return answers
