# Commands for redis-cli, from a seed: awk -v what=fill|live -v seed=N -v count=N [-v dbs=2] [-v tags=1] [-v first=N]
# fill: keys of every type. live: writes to few keys, most of which show when one is lost or done twice, transactions and
# scripts among them. tags: for a cluster, where commands with several keys have them in one slot.

function r(n) { return int(rand() * n) }
function key(kind,    k) {
    k = kind ":" r(40)
    return tags ? "live:{" slot "}:" k : "live:" k
}
function text(n,    s, i) {
    s = ""
    for (i = 0; i < n; i += 6) s = s substr("alpha beta  gamma delta flow  ", 1 + 6 * r(5), 6)
    return "\"" s "\""
}
function score() { return sprintf("%.4f", rand() * 1000) }

# ---- fill ----

function members(n, form,    s, j, m) {
    s = ""
    for (j = 0; j < n; j++) {
        m = form
        gsub("#", j, m)
        s = s " " m
    }
    return s
}
function fill(    i, n) {
    for (i = 0; i < count; i++) {
        print "SET str:" i, text(r(3) * 40)
        print "SET int:" i, r(2) ? i - 500 : "922337203685477" 5000 + i
        print "SET bin:" i, "\"\\x00\\xff\\r\\n\\x" sprintf("%02x", r(256)) "\""
        if (i % 3 == 0) print "SET ttl:" i, i, "EX", 100000000 + i
        if (i % 5) continue
        n = (i % 50 == 0) ? 1200 : (i % 15 == 0) ? 150 : 3
        print "SADD set:" i members(n, "m#")
        print "SADD ints:" i members(n, "#")
        print "RPUSH list:" i members(n, "\"e #\"")
        print "HSET hash:" i members(n, "f# \"v #\"")
        print "ZADD zset:" i members(n, "#.5 m#") " inf top -inf bottom"
        print "EXPIRE set:" i, 110000000
    }
    for (i = 0; i < 6; i++) {
        for (n = 1; n <= 1 + i * 60; n++) print "XADD stream:" i, n "-" i, "f", n, "text", text(12)
        print "XADD stream:" i " 100000-1 last one"
        print "XDEL stream:" i " 1-" i
        print "XGROUP CREATE stream:" i " g1 0"
        print "XGROUP CREATE stream:" i " g2 $"
        print "XREADGROUP GROUP g1 alice COUNT 3 STREAMS stream:" i " >"
        if (i > 0) # a consumer that reads nothing is made at the master alone, not at its replicas
            print "XREADGROUP GROUP g1 bob COUNT 2 STREAMS stream:" i " >"
        print "XACK stream:" i " g1 2-" i
    }
    print "PFADD hll:1" members(500, "e#")
    print "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"
    for (i = 0; i < 64; i += 3) print "SETBIT bits", i * 11, 1
    print "SET empty \"\""
}

# ---- live ----

function one(i,    c) {
    c = r(44)
    if (c == 0) return "SET " key("s") " " text(30)
    if (c == 1) return "SET " key("s") " v" i " EX " 100000000
    if (c == 2) return "SETEX " key("s") " 110000000 x" i
    if (c == 3) return "APPEND " key("s") " +" i
    if (c < 6) return "INCR " key("n")
    if (c == 6) return "INCRBY " key("n") " " r(100) - 50
    if (c == 7) return "INCRBYFLOAT " key("fl") " 0.5"
    if (c == 8) return "MSET " key("m") " 1 " key("m") " 2 " key("m") " " i
    if (c == 9) return "GETSET " key("s") " gs" i
    if (c == 10) return "SETRANGE " key("sr") " " r(40) " zz"
    if (c == 11) return "SETBIT " key("b") " " r(500) " " r(2)
    if (c < 14) return "LPUSH " key("l") " a" i " " text(20)
    if (c < 16) return "RPUSH " key("l") " b" i
    if (c == 16) return "LPOP " key("l")
    if (c == 17) return "RPOP " key("l") " 2"
    if (c == 18) return "LTRIM " key("l") " 0 200"
    if (c == 19) return "LINSERT " key("l") " BEFORE b" i - 1 " ins"
    if (c == 20) return "RPOPLPUSH " key("l") " " key("l")
    if (c == 21) return "LMOVE " key("l") " " key("l") " LEFT RIGHT"
    if (c == 22) return "SADD " key("t") " m" r(100) " n" i
    if (c == 23) return "SPOP " key("t")
    if (c == 24) return "SMOVE " key("t") " " key("t") " m" r(100)
    if (c == 25) return "SUNIONSTORE " key("t") " " key("t") " " key("t")
    if (c == 26) return "HSET " key("h") " f" r(50) " " text(10) " g" i " 1"
    if (c == 27) return "HDEL " key("h") " f" r(50)
    if (c == 28) return "HINCRBY " key("hn") " c " r(9)
    if (c == 29) return "HINCRBYFLOAT " key("hf") " c 0.5"
    if (c == 30) return "ZADD " key("z") " " score() " m" r(90)
    if (c == 31) return "ZINCRBY " key("z") " 1.25 m" r(90)
    if (c == 32) return "ZPOPMIN " key("z")
    if (c == 33) return "ZUNIONSTORE " key("zz") " 2 " key("z") " " key("z")
    if (c < 36) return "XADD " key("x") " * i " i " t " text(8)
    if (c == 36) return "XADD " key("x") " MAXLEN ~ 30 * i " i
    if (c == 37) return "DEL " key("s") " " key("l") " " key("t")
    if (c == 38) return "EXPIRE " key("h") " 120000000"
    if (c == 39) return "PERSIST " key("s")
    if (c == 40) return "RENAME " key("s") " " key("s")
    if (c == 41) return "COPY " key("h") " " key("h") " REPLACE"
    if (c == 42) return "EVAL \"redis.call('SET',KEYS[1],ARGV[1]) redis.call('INCR',KEYS[2])\" 2 " key("s") " " key("n") " lua" i
    return "PFADD " key("p") " u" i
}
function live(    i, j) {
    for (i = first; i < first + count; i++) {
        slot = "t" r(60)
        if (dbs > 1 && i % 50 == 0) print "SELECT", r(dbs)
        if (i % 25 == 0 && !tags) {
            print "MULTI"
            for (j = 0; j < 4; j++) print one(i)
            print "EXEC"
        } else {
            print one(i)
        }
    }
}

BEGIN {
    srand(seed)
    if (what == "live") {
        live()
    } else {
        fill()
        if (dbs > 1) {
            print "SELECT 1"
            count = int(count / 5)
            fill()
        }
    }
}
