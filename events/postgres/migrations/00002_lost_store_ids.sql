-- A store may be restored to before a restore that was accepted, and then knows nothing of the identity
-- that it was given by that.

-- +goose Up

-- mint_store_id gives the log another identity if it still has the one that the caller knows, and
-- notes that one and a lost one, which may be the same, as identities that it had. It returns the one that
-- the log has then.
-- +goose StatementBegin
CREATE FUNCTION tenantry.mint_store_id(was uuid, lost uuid) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, tenantry, pg_temp
AS $$
DECLARE
    now_is uuid;
BEGIN
    UPDATE log_head SET store_id = gen_random_uuid() WHERE store_id = was;
    IF FOUND THEN
        INSERT INTO former_store_ids (store_id, position)
            SELECT had.id, h.position FROM log_head h, unnest(ARRAY[was, lost]) AS had(id)
            ON CONFLICT DO NOTHING;
    END IF;
    SELECT store_id INTO STRICT now_is FROM log_head;
    RETURN now_is;
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION tenantry.mint_store_id(uuid, uuid) FROM PUBLIC;

-- Whoever could mint an identity before can now: a migration without --writer-role takes no right away.
-- +goose StatementBegin
DO $$
DECLARE
    writer oid;
BEGIN
    FOR writer IN
        SELECT DISTINCT a.grantee FROM pg_proc p, aclexplode(p.proacl) a
        WHERE p.oid = 'tenantry.mint_store_id(uuid)'::regprocedure AND a.privilege_type = 'EXECUTE' AND a.grantee NOT IN (0, p.proowner)
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION tenantry.mint_store_id(uuid, uuid) TO %s', writer::regrole);
    END LOOP;
END
$$;
-- +goose StatementEnd
