// Swagger UI and Redoc set HTML that they have sanitized (DOMPurify), without a policy of Trusted Types. This default policy
// accepts it unless it has active content. It creates no scripts and no URLs of scripts, so these stay blocked.

const ACTIVE = /<(iframe|object|embed|base|meta|link)\b|<script\b[^>]*>[^<]|<script\b[^>]*\ssrc\b|[\s"'/]on\w+\s*=|javascript:/i;

window.trustedTypes?.createPolicy("default", { createHTML: (html) => (ACTIVE.test(html) ? null : html) });
