-- An echo that every partition sends, with its own number.

--! include announcement_echo.sql
