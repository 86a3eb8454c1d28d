-- The event store. Package postgres (doc.go) draws the tables and says what they promise.
-- Never edit this file once it is released: add the next one.

-- +goose Up

-- Where the log ends. Its one row is what every append locks, so that commits are in the order
-- of their positions.
CREATE TABLE tenantry.log_head (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position       bigint  NOT NULL DEFAULT 0,
    store_id       uuid    NOT NULL DEFAULT gen_random_uuid(),
    partition_size bigint  NOT NULL DEFAULT 10000000 CHECK (partition_size > 0)
) WITH (fillfactor = 10);
INSERT INTO tenantry.log_head DEFAULT VALUES;

-- What a decision needs to know of a stream. A version of 0 is a stream that is referred to and
-- does not exist.
CREATE TABLE tenantry.streams (
    stream    text   COLLATE "C" PRIMARY KEY,
    version   bigint NOT NULL,
    position  bigint NOT NULL,
    referrers bigint NOT NULL
) WITH (fillfactor = 80);

-- Where the events of a stream are: a row for each batch, whose events have positions one after
-- the other. Without it a stream would have to be looked for in every partition.
CREATE TABLE tenantry.runs (
    stream   text    COLLATE "C",
    version  bigint, -- of its last event
    position bigint  NOT NULL, -- of its last event
    events   integer NOT NULL CHECK (events > 0),
    PRIMARY KEY (stream, version)
);

CREATE TABLE tenantry.events (
    position       bigint      PRIMARY KEY,
    stream         text        COLLATE "C" NOT NULL,
    version        bigint      NOT NULL,
    id             uuid        NOT NULL,
    type           text        COLLATE "C" NOT NULL,
    time           timestamptz NOT NULL,
    actor          text        NOT NULL,
    reason         text        NOT NULL,
    correlation_id text        NOT NULL,
    causation_id   text        NOT NULL,
    traceparent    text        NOT NULL,
    data           text        NOT NULL -- JSON as it was written: data::json to look into it
) PARTITION BY RANGE (position);

CREATE TABLE tenantry.claims (
    hostname text COLLATE "C" PRIMARY KEY,
    stream   text COLLATE "C" NOT NULL
);

CREATE TABLE tenantry.refs (
    stream   text COLLATE "C", -- is referred to
    referrer text COLLATE "C",
    PRIMARY KEY (stream, referrer)
);

CREATE TABLE tenantry.idempotency_keys (
    key         text        COLLATE "C" PRIMARY KEY,
    fingerprint bytea       NOT NULL,
    used_at     timestamptz NOT NULL,
    stream      text        COLLATE "C" NOT NULL,
    version     bigint      NOT NULL,
    position    bigint      NOT NULL,
    events      integer     NOT NULL
);
CREATE INDEX idempotency_keys_used_at ON tenantry.idempotency_keys (used_at);

-- Calls of append that whoever sent them has given up, since the connection was lost. They must not
-- be carried out any more.
CREATE TABLE tenantry.given_up (
    call uuid        PRIMARY KEY,
    at   timestamptz NOT NULL DEFAULT now()
);

-- Events are for ever, for the owner too as long as nobody drops these triggers. They cost an
-- insert nothing.
-- +goose StatementBegin
CREATE FUNCTION tenantry.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the event log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON tenantry.events
    FOR EACH ROW EXECUTE FUNCTION tenantry.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON tenantry.events
    FOR EACH STATEMENT EXECUTE FUNCTION tenantry.refuse_change();

-- make_partitions makes room for that many events more, and one partition besides, and returns
-- the last position that there is room for, and the size of a partition. It attaches tables instead of creating partitions,
-- which would lock out every reader.
-- +goose StatementBegin
CREATE FUNCTION tenantry.make_partitions(room bigint, OUT last_position bigint, OUT size bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, tenantry, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    wanted bigint;
    name   text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tenantry.make_partitions'));
    SELECT position + LEAST(room, 10000000) + partition_size, partition_size INTO STRICT wanted, size FROM log_head;
    SELECT COALESCE(max((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''?(\d+)''?\)'))[1]::bigint - 1), 0) INTO last_position
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'tenantry.events'::regclass;
    WHILE last_position < wanted LOOP
        name := 'events_' || lpad((last_position + 1)::text, 15, '0');
        EXECUTE format('CREATE TABLE tenantry.%I (LIKE tenantry.events INCLUDING ALL)', name);
        EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON tenantry.%I
            FOR EACH STATEMENT EXECUTE FUNCTION tenantry.refuse_change()', name);
        EXECUTE format('ALTER TABLE tenantry.events ATTACH PARTITION tenantry.%I FOR VALUES FROM (%s) TO (%s)',
            name, last_position + 1, last_position + 1 + size);
        last_position := last_position + size;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- read_state is all that the decisions on some batches ask for, as of one moment. A row says
-- what it is about: s(tream), c(laim), r(eference), k(ey).
-- +goose StatementBegin
CREATE FUNCTION tenantry.read_state(
    want_streams text[], want_hostnames text[], want_to text[], want_from text[], want_keys text[]
) RETURNS TABLE (what text, name text, other text, version bigint, "position" bigint, count bigint, fingerprint bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, tenantry, pg_temp
-- The plans are kept, and must not be those that suit the tables when they were young.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off -- a disabled scan that cannot be avoided looks so dear that it would be compiled, each time anew
AS $$
BEGIN
    RETURN QUERY
        SELECT 's'::text, s.stream, ''::text, s.version, s.position, s.referrers, NULL::bytea
        FROM unnest(want_streams) AS w(stream) JOIN streams s ON s.stream = w.stream COLLATE "C";
    IF cardinality(want_hostnames) > 0 THEN
        RETURN QUERY
            SELECT 'c'::text, c.hostname, c.stream, 0::bigint, 0::bigint, 0::bigint, NULL::bytea
            FROM unnest(want_hostnames) AS w(hostname) JOIN claims c ON c.hostname = w.hostname COLLATE "C";
    END IF;
    IF cardinality(want_to) > 0 THEN
        RETURN QUERY
            SELECT 'r'::text, r.stream, r.referrer, 0::bigint, 0::bigint, 0::bigint, NULL::bytea
            FROM unnest(want_to, want_from) AS w(stream, referrer)
            JOIN refs r ON r.stream = w.stream COLLATE "C" AND r.referrer = w.referrer COLLATE "C";
    END IF;
    IF cardinality(want_keys) > 0 THEN
        RETURN QUERY
            SELECT 'k'::text, k.key, k.stream, k.version, k.position, k.events::bigint, k.fingerprint
            FROM unnest(want_keys) AS w(key) JOIN idempotency_keys k ON k.key = w.key COLLATE "C";
    END IF;
END
$$;
-- +goose StatementEnd

-- append is the only way into the log. What the caller decided on was read before, and is checked
-- here to be so still, behind the lock on the head; where it is not, nothing is stored, and the
-- caller reads and decides anew (SQLSTATE TN001, or a unique violation). Offsets count from 1 within
-- this call; it returns the position of the log before it, and the identity of the store.
-- +goose StatementBegin
CREATE FUNCTION tenantry.append(
    this_call uuid,
    -- Read and not written: version and number of referrers of streams, holders of hostnames ('':
    -- free), keys that are new.
    read_streams text[], read_versions bigint[], read_least bigint[], read_most bigint[],
    read_hostnames text[], read_holders text[],
    read_keys text[],
    -- Streams that have no row yet.
    new_streams text[], new_versions bigint[], new_offsets bigint[], new_referrers bigint[],
    -- Streams that have one; an offset of 0 leaves the position.
    old_streams text[], old_from bigint[], old_to bigint[], old_offsets bigint[],
    old_referrers bigint[], old_least bigint[], old_most bigint[],
    released text[], released_by text[], taken text[], taken_by text[],
    unreferred text[], unreferred_by text[], referred text[], referred_by text[],
    -- A key's offset of 0 is the position that it has.
    key_names text[], key_fingerprints bytea[], key_times timestamptz[], key_streams text[],
    key_versions bigint[], key_positions bigint[], key_offsets bigint[], key_events integer[],
    run_streams text[], run_versions bigint[], run_offsets bigint[], run_events integer[],
    event_streams text[], event_versions bigint[], event_ids uuid[], event_types text[], event_times timestamptz[],
    event_actors text[], event_reasons text[], event_correlations text[], event_causations text[],
    event_traceparents text[], event_data text[],
    OUT base bigint, OUT identity uuid
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, tenantry, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off -- a disabled scan that cannot be avoided looks so dear that it would be compiled, each time anew
AS $$
DECLARE
    rows bigint;
BEGIN
    -- An answer must be durable, whatever the server's configuration says.
    IF current_setting('synchronous_commit') = 'off' AND current_setting('fsync')::boolean THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    UPDATE log_head SET position = position + cardinality(event_streams) WHERE only_row
        RETURNING position - cardinality(event_streams), store_id INTO STRICT base, identity;

    PERFORM FROM given_up g WHERE g.call = this_call;
    IF FOUND THEN
        RAISE EXCEPTION 'this call was given up' USING ERRCODE = 'TN001';
    END IF;
    IF cardinality(read_streams) > 0 THEN
        PERFORM FROM unnest(read_streams, read_versions, read_least, read_most) AS r(stream, version, least, most)
            LEFT JOIN streams s ON s.stream = r.stream COLLATE "C"
            WHERE COALESCE(s.version, 0) <> r.version OR COALESCE(s.referrers, 0) NOT BETWEEN r.least AND r.most;
        IF FOUND THEN
            RAISE EXCEPTION 'a stream that was read has moved on' USING ERRCODE = 'TN001';
        END IF;
    END IF;
    IF cardinality(read_hostnames) > 0 THEN
        PERFORM FROM unnest(read_hostnames, read_holders) AS r(hostname, holder)
            LEFT JOIN claims c ON c.hostname = r.hostname COLLATE "C"
            WHERE COALESCE(c.stream, '') <> r.holder COLLATE "C";
        IF FOUND THEN
            RAISE EXCEPTION 'a claim that was read has another holder' USING ERRCODE = 'TN001';
        END IF;
    END IF;
    IF cardinality(read_keys) > 0 THEN
        PERFORM FROM unnest(read_keys) AS r(key) JOIN idempotency_keys k ON k.key = r.key COLLATE "C";
        IF FOUND THEN
            RAISE EXCEPTION 'a key that was new is used' USING ERRCODE = 'TN001';
        END IF;
    END IF;

    IF cardinality(new_streams) > 0 THEN
        INSERT INTO streams (stream, version, position, referrers)
            SELECT n.stream, n.version, CASE n.ahead WHEN 0 THEN 0 ELSE base + n.ahead END, n.referrers
            FROM unnest(new_streams, new_versions, new_offsets, new_referrers) AS n(stream, version, ahead, referrers);
    END IF;
    IF cardinality(old_streams) > 0 THEN
        UPDATE streams s SET version = o.after, referrers = s.referrers + o.change,
                position = CASE o.ahead WHEN 0 THEN s.position ELSE base + o.ahead END
            FROM unnest(old_streams, old_from, old_to, old_offsets, old_referrers, old_least, old_most)
                AS o(stream, before, after, ahead, change, least, most)
            WHERE s.stream = o.stream COLLATE "C" AND s.version = o.before AND s.referrers BETWEEN o.least AND o.most;
        GET DIAGNOSTICS rows = ROW_COUNT;
        IF rows <> cardinality(old_streams) THEN
            RAISE EXCEPTION 'a stream has moved on' USING ERRCODE = 'TN001';
        END IF;
    END IF;

    IF cardinality(released) > 0 THEN
        DELETE FROM claims c USING unnest(released, released_by) AS r(hostname, stream)
            WHERE c.hostname = r.hostname COLLATE "C" AND c.stream = r.stream COLLATE "C";
        GET DIAGNOSTICS rows = ROW_COUNT;
        IF rows <> cardinality(released) THEN
            RAISE EXCEPTION 'a hostname has another holder' USING ERRCODE = 'TN001';
        END IF;
    END IF;
    IF cardinality(taken) > 0 THEN
        INSERT INTO claims (hostname, stream) SELECT * FROM unnest(taken, taken_by);
    END IF;
    IF cardinality(unreferred) > 0 THEN
        DELETE FROM refs r USING unnest(unreferred, unreferred_by) AS u(stream, referrer)
            WHERE r.stream = u.stream COLLATE "C" AND r.referrer = u.referrer COLLATE "C";
        GET DIAGNOSTICS rows = ROW_COUNT;
        IF rows <> cardinality(unreferred) THEN
            RAISE EXCEPTION 'a reference has ended' USING ERRCODE = 'TN001';
        END IF;
    END IF;
    IF cardinality(referred) > 0 THEN
        INSERT INTO refs (stream, referrer) SELECT * FROM unnest(referred, referred_by);
    END IF;
    IF cardinality(key_names) > 0 THEN
        INSERT INTO idempotency_keys (key, fingerprint, used_at, stream, version, position, events)
            SELECT k.key, k.fingerprint, k.used_at, k.stream, k.version, CASE k.ahead WHEN 0 THEN k.position ELSE base + k.ahead END, k.events
            FROM unnest(key_names, key_fingerprints, key_times, key_streams, key_versions, key_positions, key_offsets, key_events)
                AS k(key, fingerprint, used_at, stream, version, position, ahead, events);
    END IF;

    IF cardinality(run_streams) > 0 THEN
        INSERT INTO runs (stream, version, position, events)
            SELECT r.stream, r.version, base + r.ahead, r.events
            FROM unnest(run_streams, run_versions, run_offsets, run_events) AS r(stream, version, ahead, events);
        INSERT INTO events (position, stream, version, id, type, time, actor, reason, correlation_id, causation_id, traceparent, data)
            SELECT base + e.ahead, e.stream, e.version, e.id, e.type, e.time, e.actor, e.reason, e.correlation_id, e.causation_id, e.traceparent, e.data
            FROM unnest(event_streams, event_versions, event_ids, event_types, event_times,
                    event_actors, event_reasons, event_correlations, event_causations, event_traceparents, event_data)
                WITH ORDINALITY AS e(stream, version, id, type, time, actor, reason, correlation_id, causation_id, traceparent, data, ahead);
    END IF;
END
$$;
-- +goose StatementEnd

-- settle finds out what became of a call of append whose answer was lost, and returns the position
-- of an event of it, or 0 if nothing is stored; then nothing will be. The call may be under way: the
-- lock on the head waits for its end, or makes it wait, and it finds itself given up. The update changes
-- nothing and is there for servers whose default is a stricter isolation, where a lock alone
-- would not keep the call from looking at an older snapshot.
-- +goose StatementBegin
CREATE FUNCTION tenantry.settle(lost_call uuid, its_stream text, its_version bigint, its_event uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, tenantry, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    stored bigint;
BEGIN
    UPDATE log_head SET position = position WHERE only_row;
    INSERT INTO given_up (call) VALUES (lost_call) ON CONFLICT DO NOTHING;
    DELETE FROM given_up WHERE at < now() - interval '1 day'; -- no call takes that long
    SELECT e.position INTO stored FROM runs r JOIN events e ON e.position = r.position
        WHERE r.stream = its_stream COLLATE "C" AND r.version = its_version AND e.id = its_event;
    RETURN COALESCE(stored, 0);
END
$$;
-- +goose StatementEnd

-- drop_keys forgets up to some of the keys first used before a time, the oldest first.
-- +goose StatementBegin
CREATE FUNCTION tenantry.drop_keys(before timestamptz, at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, tenantry, pg_temp
AS $$
DECLARE
    rows bigint;
BEGIN
    DELETE FROM idempotency_keys WHERE key IN (
        SELECT key FROM idempotency_keys WHERE used_at < before ORDER BY used_at LIMIT at_most FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS rows = ROW_COUNT;
    RETURN rows;
END
$$;
-- +goose StatementEnd

-- The identities that the log had before, each until it was restored to an earlier past.
CREATE TABLE tenantry.former_store_ids (
    store_id uuid        PRIMARY KEY,
    until    timestamptz NOT NULL DEFAULT now(),
    position bigint      NOT NULL -- where the log ended then
);

-- mint_store_id gives the log another identity if it still has the one that the caller knows,
-- and returns the one that it has then.
-- +goose StatementBegin
CREATE FUNCTION tenantry.mint_store_id(was uuid) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, tenantry, pg_temp
AS $$
DECLARE
    now_is uuid;
BEGIN
    UPDATE log_head SET store_id = gen_random_uuid() WHERE store_id = was;
    IF FOUND THEN
        INSERT INTO former_store_ids (store_id, position) SELECT was, position FROM log_head;
    END IF;
    SELECT store_id INTO STRICT now_is FROM log_head;
    RETURN now_is;
END
$$;
-- +goose StatementEnd

-- A function is everyone's to call unless that is taken back.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tenantry FROM PUBLIC;
