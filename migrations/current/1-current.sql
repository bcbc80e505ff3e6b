-- What a partition needs for a cap over all partitions, which a proxy in front of them keeps.

--! include session_sign_ins.sql
--! include session_revoke_some.sql
