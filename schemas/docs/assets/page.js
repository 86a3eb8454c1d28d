// The document is asked for by its place relative to this page, so that both may stand behind
// a proxy's prefix.
window.addEventListener('load', () => {
  window.SwaggerUIBundle({
    url: 'openapi.yaml',
    dom_id: '#docs',
    deepLinking: true,
    docExpansion: 'list',
    defaultModelsExpandDepth: 0,
    validatorUrl: null, // it would send the document to a server on the internet
    queryConfigEnabled: false,
  });
});
